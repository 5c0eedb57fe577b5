// Hash maps: chains of fixed entries. Readers take no lock; writers own a bucket for a few nanoseconds.
//
// A bucket is {u32 first entry, u32 owner}; owner is process slot << 22 | thread id. Every change that a
// reader can see is one store, so a writer may die anywhere: its bucket is taken over, its chain is whole.
#include "map.h"

enum { SYS_TKILL = 200, SPINS = 1000, YIELDS = 64, GIVE_UP = 2048 };
enum { PROCESS_DEAD = 3, TID_BITS = 22, MAX_LRU_KEY = 512, EVICTIONS = 64 };

static inline __attribute__((always_inline)) u64 crc(u64 sum, u64 word)
{
	__asm__("crc32q %1, %0" : "+r"(sum) : "rm"(word));
	return sum;
}

static inline __attribute__((always_inline)) u32 hash_of(const struct map *map, const u8 *key, u32 size)
{
	u64 sum = map->seed, tail = 0;

	for (; size >= 8; size -= 8, key += 8)
		sum = crc(sum, *(const u64 *)key);
	if (size == 4) {
		sum = crc(sum, *(const u32 *)key);
	} else if (size) {
		for (u32 i = 0; i < size; i++)
			tail |= (u64)key[i] << (8 * i);
		sum = crc(sum, tail);
	}
	return (u32)sum * 0x9e3779b1u ^ (u32)(sum >> 7);
}

static inline struct entry *entry_at(struct map *map, u32 index)
{
	return (struct entry *)(map_region(map) + map->data + (u64)index * map->entry);
}

static inline u64 *bucket_of(struct map *map, u32 hash)
{
	return (u64 *)(map_region(map) + map->index) + (hash & map->mask);
}

// Entry that holds the key, or FREE_END. A walk that an entry's reuse led into another chain starts again.
static inline __attribute__((always_inline)) u32 find(struct map *map, const u8 *key, u32 size, u32 hash)
{
	u64 *bucket = bucket_of(map, hash);
	u32 end = CHAIN_END | (hash & map->mask);

	for (u32 tries = 0; tries < 64; tries++) {
		u32 at = (u32)__atomic_load_n(bucket, __ATOMIC_ACQUIRE);

		for (u32 steps = 0; at < map->max_entries && steps <= map->max_entries; steps++) {
			struct entry *entry = entry_at(map, at);

			if (entry->hash == hash && same_key(entry->key, key, size))
				return at;
			at = __atomic_load_n(&entry->next, __ATOMIC_ACQUIRE);
		}
		if (at == end)
			break;
	}
	return FREE_END;
}

static inline __attribute__((always_inline)) void *value_of(struct map *map, u32 at, u32 key_size)
{
	if (map->cells == 1)
		return entry_at(map, at)->key + ((key_size + 7) & ~7u);
	if (!has_cpus(map))
		return map_region(map) + map->values + (u64)at * map->stride;
	return map_region(map) + map->values + (u64)at * map->stride + current_cpu() * map->block;
}

static inline __attribute__((always_inline)) void *lookup(struct map *map, const void *key, u32 size)
{
	u32 at = find(map, key, size, hash_of(map, key, size));

	return at == FREE_END ? 0 : value_of(map, at, size);
}

HELPER void *hash_lookup_4(struct map *map, const void *key)
{
	return lookup(map, key, 4);
}

HELPER void *hash_lookup_8(struct map *map, const void *key)
{
	return lookup(map, key, 8);
}

HELPER void *hash_lookup_16(struct map *map, const void *key)
{
	return lookup(map, key, 16);
}

HELPER void *hash_lookup_any(struct map *map, const void *key)
{
	return lookup(map, key, map->key_size);
}

static void count_drop(struct map *map, u32 which)
{
	__atomic_fetch_add(&map->drops[which], 1, __ATOMIC_RELAXED);
}

// The owner can be gone: its process is marked dead, or its thread does not exist in our pid namespace.
static int owner_is_gone(struct map *map, u32 owner, u32 own)
{
	struct region *region = (struct region *)map_region(map);
	struct process *table = (struct process *)((u8 *)region + region->process_table);
	u32 slot = owner >> TID_BITS, own_slot = own >> TID_BITS;

	if (!region->process_table)
		return sys(SYS_TKILL, owner & ((1u << TID_BITS) - 1), 0) == -E_SRCH;
	if (slot < region->process_count && table[slot].state == PROCESS_DEAD)
		return 1;
	if (slot >= region->process_count || table[slot].ns_inode != table[own_slot].ns_inode)
		return 0;
	return sys(SYS_TKILL, owner & ((1u << TID_BITS) - 1), 0) == -E_SRCH;
}

// Take a bucket; its first entry goes to `ret`. -EBUSY where this very thread was interrupted inside it.
static int bucket_lock(struct map *map, u64 *bucket, u32 *ret)
{
	u32 own = agent_slot((struct region *)map_region(map)) << TID_BITS | agent_tid();

	for (u32 round = 0; round < GIVE_UP; round++) {
		u64 word = __atomic_load_n(bucket, __ATOMIC_RELAXED);
		u32 owner = (u32)(word >> 32);

		if (owner == own)
			break;
		if (!owner || (round % YIELDS == YIELDS - 1 && owner_is_gone(map, owner, own))) {
			u64 mine = (u32)word | (u64)own << 32;

			if (__atomic_compare_exchange_n(bucket, &word, mine, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
				*ret = (u32)word;
				return 0;
			}
			continue;
		}
		if (round)
			sys(SYS_SCHED_YIELD);
		for (u32 i = 0; i < SPINS && (u32)(__atomic_load_n(bucket, __ATOMIC_RELAXED) >> 32); i++)
			__builtin_ia32_pause();
	}
	count_drop(map, DROP_BUSY);
	return -E_BUSY;
}

// One store publishes the new chain and gives the bucket back.
static void bucket_unlock(u64 *bucket, u32 first)
{
	__atomic_store_n(bucket, first, __ATOMIC_RELEASE);
}

static u32 entry_take(struct map *map)
{
	u64 head = __atomic_load_n(&map->free_head, __ATOMIC_ACQUIRE);
	u64 fresh;

	while ((u32)head < map->max_entries) {
		u32 next = __atomic_load_n(&entry_at(map, (u32)head)->next, __ATOMIC_RELAXED);
		u64 then = (((head >> 32) + 1) << 32) | next;

		if (__atomic_compare_exchange_n(&map->free_head, &head, then, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return (u32)head;
	}
	fresh = __atomic_load_n(&map->fresh, __ATOMIC_RELAXED);
	while (fresh < map->max_entries)
		if (__atomic_compare_exchange_n(&map->fresh, &fresh, fresh + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return (u32)fresh;
	return FREE_END;
}

static void entry_give(struct map *map, u32 at)
{
	u64 head = __atomic_load_n(&map->free_head, __ATOMIC_RELAXED), then;

	do {
		__atomic_store_n(&entry_at(map, at)->next, (u32)head, __ATOMIC_RELAXED);
		then = (((head >> 32) + 1) << 32) | at;
	} while (!__atomic_compare_exchange_n(&map->free_head, &head, then, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
}

// First value of a new entry: blocks of other CPUs start at zero.
static void value_begin(struct map *map, u32 at, const void *value)
{
	u8 *first = map_region(map) + map->values + (u64)at * map->stride;

	for (u32 cell = 0; map->cells > 1 && cell < map->cells; cell++)
		zero_words(first + cell * map->block, map->stride / 8);
	copy_words(value_of(map, at, map->key_size), value, map->value_size);
}

static s64 insert_once(struct map *map, const u8 *key, const void *value, u64 flags)
{
	u32 hash = hash_of(map, key, map->key_size), at, first;
	u64 *bucket = bucket_of(map, hash);
	struct entry *entry;
	int err = bucket_lock(map, bucket, &first);

	if (err)
		return err;
	at = find(map, key, map->key_size, hash);
	if (at != FREE_END) {
		if (flags != UPDATE_NOEXIST)
			copy_words(value_of(map, at, map->key_size), value, map->value_size);
		bucket_unlock(bucket, first);
		return flags == UPDATE_NOEXIST ? -E_EXIST : 0;
	}
	at = flags == UPDATE_EXIST ? FREE_END : entry_take(map);
	if (at == FREE_END) {
		bucket_unlock(bucket, first);
		if (flags == UPDATE_EXIST)
			return -E_NOENT;
		return -E_2BIG;
	}
	entry = entry_at(map, at);
	copy_words(entry->key, key, map->key_size);
	value_begin(map, at, value);
	entry->hash = hash;
	__atomic_store_n(&entry->next, first, __ATOMIC_RELEASE);
	bucket_unlock(bucket, at);
	return 0;
}

// Make room in an LRU map: entries go in the order of a hand that walks round, the oldest first at the start.
static void evict(struct map *map)
{
	u64 hand = __atomic_fetch_add(&map->hand, 1, __ATOMIC_RELAXED);
	struct entry *entry = entry_at(map, (u32)(hand % map->max_entries));
	u8 key[MAX_LRU_KEY];

	copy_words(key, entry->key, map->key_size <= MAX_LRU_KEY ? map->key_size : MAX_LRU_KEY);
	hash_delete(map, key);
}

HELPER s64 hash_update(struct map *map, const void *key, const void *value, u64 flags)
{
	s64 err;

	if (flags > UPDATE_EXIST)
		return -E_INVAL;
	err = insert_once(map, key, value, flags);
	for (u32 i = 0; err == -E_2BIG && is_lru(map) && i < EVICTIONS; i++) {
		evict(map);
		err = insert_once(map, key, value, flags);
	}
	if (err == -E_2BIG)
		count_drop(map, DROP_FULL);
	return err;
}

// A value of one word is replaced by one store, which needs no lock.
static inline __attribute__((always_inline)) s64 replace(struct map *map, const void *key, const void *value,
							 u64 flags, u32 size)
{
	u32 at = FREE_END;

	if (flags != UPDATE_NOEXIST)
		at = find(map, key, size, hash_of(map, key, size));
	if (at == FREE_END)
		return hash_update(map, key, value, flags);
	if (flags > UPDATE_EXIST)
		return -E_INVAL;
	__atomic_store_n((u64 *)value_of(map, at, size), *(const u64 *)value, __ATOMIC_RELEASE);
	return 0;
}

HELPER s64 hash_update_4_8(struct map *map, const void *key, const void *value, u64 flags)
{
	return replace(map, key, value, flags, 4);
}

HELPER s64 hash_update_8_8(struct map *map, const void *key, const void *value, u64 flags)
{
	return replace(map, key, value, flags, 8);
}

HELPER s64 hash_update_16_8(struct map *map, const void *key, const void *value, u64 flags)
{
	return replace(map, key, value, flags, 16);
}

HELPER s64 hash_delete(struct map *map, const void *key)
{
	u32 hash = hash_of(map, key, map->key_size), at, first;
	u64 *bucket = bucket_of(map, hash);
	struct entry *before = 0;
	int err;

	// An empty bucket is the common case of a stray exit probe: no lock for that.
	if ((u32)__atomic_load_n(bucket, __ATOMIC_RELAXED) >= CHAIN_END)
		return -E_NOENT;
	err = bucket_lock(map, bucket, &first);
	if (err)
		return err;
	for (at = first; at < map->max_entries; at = before->next) {
		struct entry *entry = entry_at(map, at);

		if (entry->hash == hash && same_key(entry->key, key, map->key_size))
			break;
		before = entry;
	}
	if (at < map->max_entries) {
		u32 next = entry_at(map, at)->next;

		if (before)
			__atomic_store_n(&before->next, next, __ATOMIC_RELEASE);
		else
			first = next;
	}
	bucket_unlock(bucket, first);
	if (at >= map->max_entries)
		return -E_NOENT;
	entry_give(map, at);
	return 0;
}

// Entry number of a key, or FREE_END: for walks and for the tracer's reads of all CPUs.
HELPER u64 hash_index(struct map *map, const void *key)
{
	return find(map, key, map->key_size, hash_of(map, key, map->key_size));
}

// First entry in chain order after `at` (FREE_END: from the start), FREE_END at the end.
// First entry of a bucket, FREE_END where it is empty.
HELPER u64 hash_first(struct map *map, u32 bucket)
{
	u32 first = (u32)__atomic_load_n(bucket_of(map, bucket), __ATOMIC_ACQUIRE);

	return first < map->max_entries ? first : FREE_END;
}

// The entry behind one in its chain, FREE_END at the end.
HELPER u64 hash_after(struct map *map, u64 at)
{
	u32 next = __atomic_load_n(&entry_at(map, (u32)at)->next, __ATOMIC_ACQUIRE);

	return next < map->max_entries ? next : FREE_END;
}

HELPER u64 hash_next(struct map *map, u64 at)
{
	u32 bucket = 0, next;

	if (at < map->max_entries) {
		struct entry *entry = entry_at(map, (u32)at);

		bucket = entry->hash & map->mask;
		next = __atomic_load_n(&entry->next, __ATOMIC_ACQUIRE);
		if (next < map->max_entries)
			return next;
		bucket++;
	}
	for (; bucket <= map->mask; bucket++) {
		next = (u32)__atomic_load_n(bucket_of(map, bucket), __ATOMIC_ACQUIRE);
		if (next < map->max_entries)
			return next;
	}
	return FREE_END;
}

HELPER void *hash_key_at(struct map *map, u64 at)
{
	return entry_at(map, (u32)at)->key;
}

HELPER void *hash_value_at(struct map *map, u64 at)
{
	return value_of(map, (u32)at, map->key_size);
}
