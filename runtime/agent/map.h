// Maps in the region: the header that Python writes (runtime/maps/layout.py) and what finds things by it.
#pragma once
#include "agent.h"

enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PROG_ARRAY = 3, MAP_PERCPU_HASH = 5, MAP_PERCPU_ARRAY = 6,
       MAP_LRU_HASH = 9, MAP_LRU_PERCPU_HASH = 10 };
enum { UPDATE_ANY = 0, UPDATE_NOEXIST = 1, UPDATE_EXIST = 2 };
enum { E_NOENT = 2, E_2BIG = 7, E_SRCH = 3, E_NOMEM = 12 };
enum { DROP_FULL = 0, DROP_BUSY = 1 };
// A chain ends with this bit and its bucket's number; the free list with all bits set, which no bucket has.
#define CHAIN_END 0x80000000u
#define FREE_END 0xffffffffu

struct map {
	u32 type, key_size, value_size, max_entries, flags, stride;
	u64 extra;
	u32 id, btf_key, btf_value, seed;
	u64 data, index; // region offsets of the entries (array: values) and the buckets
	u64 free_head; // {u32 tag, u32 entry}: the tag keeps two pops from mixing
	u64 fresh; // entries never used so far
	u64 hand; // LRU kinds: the entry that is evicted next
	u64 drops[8];
	u32 frozen, cells;
	u8 name[16];
	u64 self; // region offset of this header
	u32 entry, mask;
	u64 values, block; // region offset of separate values; bytes from one CPU's to the next one's
};
_Static_assert(__builtin_offsetof(struct map, free_head) == 64, "layout.FREE_HEAD");
_Static_assert(__builtin_offsetof(struct map, cells) == 156, "layout.CELLS");
_Static_assert(__builtin_offsetof(struct map, self) == 176, "layout.SELF");
_Static_assert(sizeof(struct map) == 208, "map");

// Where a walk over a map's entries is: the bucket (or thread's place), and in it the last entry seen + 1.
struct map_cursor {
	u32 place, position, last, spare;
};

struct entry {
	u32 next, hash;
	u8 key[];
};

static inline u8 *map_region(struct map *map)
{
	return (u8 *)map - map->self;
}

static inline int is_lru(const struct map *map)
{
	return map->type == MAP_LRU_HASH || map->type == MAP_LRU_PERCPU_HASH;
}

static inline int has_cpus(const struct map *map)
{
	return map->type == MAP_PERCPU_HASH || map->type == MAP_LRU_PERCPU_HASH;
}

static inline void copy_words(void *to, const void *from, u64 bytes)
{
	u8 *d = to;
	const u8 *s = from;

	for (; bytes >= 8; bytes -= 8, d += 8, s += 8)
		*(u64 *)d = *(const u64 *)s;
	for (; bytes; bytes--)
		*d++ = *s++;
}

static inline void zero_words(void *to, u64 words)
{
	for (u64 *d = to; words; words--)
		*d++ = 0;
}

HELPER u64 current_cpu(void);
HELPER s64 map_update(struct map *map, const void *key, const void *value, u64 flags);
HELPER s64 map_delete(struct map *map, const void *key);
HELPER void *map_lookup(struct map *map, const void *key);
HELPER void *hash_find(struct map *map, const void *key);
HELPER s64 hash_update(struct map *map, const void *key, const void *value, u64 flags);
HELPER s64 hash_delete(struct map *map, const void *key);

// Whether two keys of `size` bytes are equal.
static inline __attribute__((always_inline)) int same_key(const u8 *a, const u8 *b, u32 size)
{
	for (; size >= 8; size -= 8, a += 8, b += 8)
		if (*(const u64 *)a != *(const u64 *)b)
			return 0;
	if (size >= 4) {
		if (*(const u32 *)a != *(const u32 *)b)
			return 0;
		size -= 4, a += 4, b += 4;
	}
	for (; size; size--)
		if (*a++ != *b++)
			return 0;
	return 1;
}
