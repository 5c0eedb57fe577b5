// Hash maps whose every key is the thread's id: one entry a thread, no hash, no lock, a single writer.
//
// The region's slot table gives each thread of each process a number; {process slot, thread id} names the
// owner. The entry keeps its key, so one left by a thread that has ended reads as missing to the next owner.
#include "map.h"

enum { SLOT_PROBES = 8, SYS_TKILL = 200, PROCESS_DEAD = 3 };

struct thread_entry {
	u32 used, spare;
	u8 key[];
};

static inline __attribute__((always_inline)) int same(const u8 *a, const u8 *b, u32 size)
{
	for (; size >= 8; size -= 8, a += 8, b += 8)
		if (*(const u64 *)a != *(const u64 *)b)
			return 0;
	for (; size; size--)
		if (*a++ != *b++)
			return 0;
	return 1;
}

static inline struct thread_entry *entry_at(struct map *map, u64 index)
{
	return (struct thread_entry *)(map_region(map) + map->data + index * map->entry);
}

static inline void *value_of(struct map *map, struct thread_entry *entry)
{
	return entry->key + ((map->key_size + 7) & ~7u);
}

// A slot's owner is gone when its process is marked dead, or it is a thread of ours that has ended.
static int is_free_again(struct region *region, u64 owner, u32 own_process)
{
	struct process *table = (struct process *)((u8 *)region + region->process_table);
	u32 process = (u32)owner;

	if (process < region->process_count && table[process].state == PROCESS_DEAD)
		return 1;
	return process == own_process && sys(SYS_TKILL, owner >> 32, 0) == -E_SRCH;
}

static HELPER s64 claim(struct region *region, u64 *table, u64 own, u32 start, u32 mask)
{
	for (u32 pass = 0; pass < 2; pass++) {
		for (u32 i = 0; i < SLOT_PROBES; i++) {
			u32 index = (start + i) & mask;
			u64 owner = __atomic_load_n(&table[2 * index], __ATOMIC_RELAXED);

			if (owner && (!pass || !is_free_again(region, owner, (u32)own)))
				continue;
			if (__atomic_compare_exchange_n(&table[2 * index], &owner, own, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
				return index;
		}
	}
	return -1;
}

// The caller's entry, null where the slot table has no room for it.
static inline __attribute__((always_inline)) struct thread_entry *own_entry(struct map *map, struct region *region)
{
	u64 *table = (u64 *)((u8 *)region + region->slot_table); // two words a slot, the first is the owner
	u32 tid = agent_tid(), mask = region->slot_count - 1;
	u64 own = (u64)tid << 32 | agent_slot(region);
	s64 index;

	for (u32 i = 0; i < SLOT_PROBES; i++)
		if (table[2 * ((tid + i) & mask)] == own)
			return entry_at(map, (tid + i) & mask);
	index = claim(region, table, own, tid, mask);
	return index < 0 ? 0 : entry_at(map, (u64)index);
}

HELPER void *thread_lookup(struct map *map, struct region *region, const void *key)
{
	struct thread_entry *entry = own_entry(map, region);

	return entry && entry->used && same(entry->key, key, map->key_size) ? value_of(map, entry) : 0;
}

HELPER s64 thread_update(struct map *map, struct region *region, const void *key, const void *value, u64 flags)
{
	struct thread_entry *entry = own_entry(map, region);
	int found;

	if (flags > UPDATE_EXIST)
		return -E_INVAL;
	if (!entry) {
		__atomic_fetch_add(&map->drops[DROP_FULL], 1, __ATOMIC_RELAXED);
		return -E_2BIG;
	}
	found = entry->used && same(entry->key, key, map->key_size);
	if (flags == UPDATE_NOEXIST && found)
		return -E_EXIST;
	if (flags == UPDATE_EXIST && !found)
		return -E_NOENT;
	copy_words(value_of(map, entry), value, map->value_size);
	if (!found)
		copy_words(entry->key, key, map->key_size);
	__atomic_store_n(&entry->used, 1, __ATOMIC_RELEASE);
	return 0;
}

HELPER s64 thread_delete(struct map *map, struct region *region, const void *key)
{
	struct thread_entry *entry = own_entry(map, region);

	if (!entry || !entry->used || !same(entry->key, key, map->key_size))
		return -E_NOENT;
	__atomic_store_n(&entry->used, 0, __ATOMIC_RELEASE);
	return 0;
}

// For the tracer: the next used entry's number from `at` on, or all bits set.
HELPER u64 thread_next(struct map *map, u64 at)
{
	u32 slots = ((struct region *)map_region(map))->slot_count;

	for (; at < slots; at++)
		if (__atomic_load_n(&entry_at(map, at)->used, __ATOMIC_ACQUIRE))
			return at;
	return ~0ULL;
}

// For the tracer: the value of any thread's key.
HELPER void *thread_find(struct map *map, const void *key)
{
	for (u64 at = thread_next(map, 0); at != ~0ULL; at = thread_next(map, at + 1))
		if (same(entry_at(map, at)->key, key, map->key_size))
			return value_of(map, entry_at(map, at));
	return 0;
}

// For the tracer: forget a key, all keys (`key` null), or only zero the values (`values`).
HELPER s64 thread_forget(struct map *map, const void *key, u64 values)
{
	s64 done = key ? -E_NOENT : 0;

	for (u64 at = thread_next(map, 0); at != ~0ULL; at = thread_next(map, at + 1)) {
		struct thread_entry *entry = entry_at(map, at);

		if (key && !same(entry->key, key, map->key_size))
			continue;
		if (values)
			zero_words(value_of(map, entry), map->stride / 8);
		else
			__atomic_store_n(&entry->used, 0, __ATOMIC_RELEASE);
		done = 0;
	}
	return done;
}
