// Hash maps whose every key is the thread's id: each key has one writer, so there are no locks and no chains.
//
// An entry is looked for at a few places from the one its key names. Deleting keeps the key, so that the next
// update of the same thread finds its entry with plain loads and stores; only taking an entry is atomic. An
// entry that is kept but empty is given to another thread when no fresh one is left near.
#include "map.h"

enum { PLACES = 8 };
enum { FREE = 0, USED = 1, KEPT = 2, TAKING = 3 };

struct thread_entry {
	u32 state, spare;
	u8 key[];
};

// Thread ids follow one another, so their low bits spread best; longer keys are mixed.
static inline __attribute__((always_inline)) u32 place_of(const u8 *key, u32 size)
{
	u64 sum = 0;

	if (size == 4 || size == 8)
		return *(const u32 *)key;
	for (; size >= 8; size -= 8, key += 8)
		__asm__("crc32q %1, %0" : "+r"(sum) : "rm"(*(const u64 *)key));
	for (; size; size--, key++)
		__asm__("crc32b %1, %0" : "+r"(sum) : "rm"(*key));
	return (u32)sum;
}

static inline __attribute__((always_inline)) struct thread_entry *entry_at(struct map *map, u32 place)
{
	return (struct thread_entry *)(map_region(map) + map->data + (u64)(place & map->mask) * map->entry);
}

static inline void *value_of(struct thread_entry *entry, u32 key_size)
{
	return entry->key + ((key_size + 7) & ~7u);
}

// The key's entry, used or kept; null where it has none.
static inline __attribute__((always_inline)) struct thread_entry *find(struct map *map, const u8 *key, u32 size)
{
	u32 place = place_of(key, size);

	for (u32 i = 0; i < PLACES; i++) {
		struct thread_entry *entry = entry_at(map, place + i);

		if (entry->state && same_key(entry->key, key, size))
			return entry;
	}
	return 0;
}

static HELPER struct thread_entry *take(struct map *map, const u8 *key)
{
	for (u32 wanted = FREE; wanted <= KEPT; wanted += KEPT) {
		for (u32 i = 0; i < PLACES; i++) {
			struct thread_entry *entry = entry_at(map, place_of(key, map->key_size) + i);
			u32 state = wanted;

			if (!__atomic_compare_exchange_n(&entry->state, &state, TAKING, 0, __ATOMIC_ACQ_REL,
							 __ATOMIC_RELAXED))
				continue;
			copy_words(entry->key, key, map->key_size);
			return entry;
		}
	}
	__atomic_fetch_add(&map->drops[DROP_FULL], 1, __ATOMIC_RELAXED);
	return 0;
}

static inline __attribute__((always_inline)) void *lookup(struct map *map, const u8 *key, u32 size)
{
	struct thread_entry *entry = find(map, key, size);

	return entry && entry->state == USED ? value_of(entry, size) : 0;
}

static inline __attribute__((always_inline)) s64 update(struct map *map, const u8 *key, const void *value, u64 flags,
							u32 size)
{
	struct thread_entry *entry = find(map, key, size);
	int exists = entry && entry->state == USED;

	if (flags > UPDATE_EXIST)
		return -E_INVAL;
	if (flags == UPDATE_NOEXIST && exists)
		return -E_EXIST;
	if (flags == UPDATE_EXIST && !exists)
		return -E_NOENT;
	if (!entry)
		entry = take(map, key);
	if (!entry)
		return -E_2BIG;
	copy_words(value_of(entry, size), value, map->value_size);
	__atomic_store_n(&entry->state, USED, __ATOMIC_RELEASE);
	return 0;
}

static inline __attribute__((always_inline)) s64 forget(struct map *map, const u8 *key, u32 size)
{
	struct thread_entry *entry = find(map, key, size);

	if (!entry || entry->state != USED)
		return -E_NOENT;
	__atomic_store_n(&entry->state, KEPT, __ATOMIC_RELEASE);
	return 0;
}

#define OPERATIONS(suffix, size)                                                                                   \
	HELPER void *thread_lookup_##suffix(struct map *map, const void *key)                                      \
	{                                                                                                          \
		return lookup(map, key, size);                                                                     \
	}                                                                                                          \
	HELPER s64 thread_update_##suffix(struct map *map, const void *key, const void *value, u64 flags)          \
	{                                                                                                          \
		return update(map, key, value, flags, size);                                                       \
	}                                                                                                          \
	HELPER s64 thread_delete_##suffix(struct map *map, const void *key)                                        \
	{                                                                                                          \
		return forget(map, key, size);                                                                     \
	}

OPERATIONS(4, 4)
OPERATIONS(8, 8)
OPERATIONS(16, 16)
OPERATIONS(any, map->key_size)

// Number of the next entry in use from `at` on, all bits set at the end.
HELPER u64 thread_next(struct map *map, u64 at)
{
	for (; at <= map->mask; at++)
		if (__atomic_load_n(&entry_at(map, (u32)at)->state, __ATOMIC_ACQUIRE) == USED)
			return at;
	return ~0ULL;
}

HELPER void *thread_key_at(struct map *map, u64 at)
{
	return entry_at(map, (u32)at)->key;
}

// Forget all keys, or only zero their values.
HELPER s64 thread_reset(struct map *map, u64 values)
{
	for (u64 at = thread_next(map, 0); at != ~0ULL; at = thread_next(map, at + 1)) {
		struct thread_entry *entry = entry_at(map, (u32)at);

		if (values)
			zero_words(value_of(entry, map->key_size), map->stride / 8);
		else
			__atomic_store_n(&entry->state, KEPT, __ATOMIC_RELEASE);
	}
	return 0;
}
