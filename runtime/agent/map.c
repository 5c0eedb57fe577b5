// Operations on any map by its type: what programs call where the type is not known, and the tracer's writes.
#include "map.h"

typedef u64 (*map_callback)(struct map *map, void *key, void *value, u64 data, u64 zero, void *shared);

HELPER void *hash_lookup_any(struct map *map, const void *key);
HELPER void *thread_lookup_any(struct map *map, const void *key);
HELPER s64 thread_update_any(struct map *map, const void *key, const void *value, u64 flags);
HELPER s64 thread_delete_any(struct map *map, const void *key);
HELPER u64 thread_next(struct map *map, u64 at);
HELPER void *thread_key_at(struct map *map, u64 at);
HELPER s64 thread_reset(struct map *map, u64 values);
HELPER u64 hash_first(struct map *map, u32 bucket);
HELPER u64 hash_after(struct map *map, u64 at);
HELPER u64 hash_next(struct map *map, u64 at);
HELPER u64 hash_index(struct map *map, const void *key);
HELPER void *hash_key_at(struct map *map, u64 at);
HELPER void *hash_value_at(struct map *map, u64 at);

// A CPU number below the number of possible ones. The segment limit holds node << 12 | CPU (getcpu's source).
HELPER u64 current_cpu(void)
{
	u32 cpu;

	__asm__ volatile("lsl %1, %0" : "=r"(cpu) : "r"(0x7b));
	return cpu & 0xfff;
}

// A hash without buckets has an entry for each thread instead (threadmap.c).
static int is_thread(const struct map *map)
{
	return map->type == MAP_HASH && map->index == map->self;
}

static int is_hash(const struct map *map)
{
	return (map->type == MAP_HASH && !is_thread(map)) || has_cpus(map) || is_lru(map);
}

static int is_array(const struct map *map)
{
	return map->type == MAP_ARRAY || map->type == MAP_PERCPU_ARRAY;
}

static u8 *array_value(struct map *map, u64 index, u64 cell)
{
	return map_region(map) + map->data + index * map->stride + cell * map->block;
}

static u64 own_cell(struct map *map)
{
	return map->type == MAP_PERCPU_ARRAY ? current_cpu() : 0;
}

HELPER void *map_lookup(struct map *map, const void *key)
{
	if (is_thread(map))
		return thread_lookup_any(map, key);
	if (is_hash(map))
		return hash_lookup_any(map, key);
	if (!is_array(map) || *(const u32 *)key >= map->max_entries)
		return 0;
	return array_value(map, *(const u32 *)key, own_cell(map));
}

HELPER void *map_lookup_cpu(struct map *map, const void *key, u64 cpu)
{
	u64 at;

	if ((u32)cpu >= map->cells)
		return 0;
	if (has_cpus(map)) {
		at = hash_index(map, key);
		return at == FREE_END ? 0 : map_region(map) + map->values + at * map->stride + (u32)cpu * map->block;
	}
	if (map->type != MAP_PERCPU_ARRAY || *(const u32 *)key >= map->max_entries)
		return 0;
	return array_value(map, *(const u32 *)key, (u32)cpu);
}

HELPER s64 map_update(struct map *map, const void *key, const void *value, u64 flags)
{
	u32 index = *(const u32 *)key;

	if (is_thread(map))
		return thread_update_any(map, key, value, flags);
	if (is_hash(map))
		return hash_update(map, key, value, flags);
	if (!is_array(map) || flags > UPDATE_EXIST)
		return -E_INVAL;
	if (index >= map->max_entries)
		return -E_2BIG;
	if (flags == UPDATE_NOEXIST)
		return -E_EXIST;
	copy_words(array_value(map, index, own_cell(map)), value, map->value_size);
	return 0;
}

HELPER s64 map_delete(struct map *map, const void *key)
{
	if (is_thread(map))
		return thread_delete_any(map, key);
	return is_hash(map) ? hash_delete(map, key) : -E_INVAL;
}

// Values of all cells at once, each `stride` bytes: what the tracer writes. `map_update` must have made the key.
HELPER s64 map_write_cells(struct map *map, const void *key, const u8 *values)
{
	u8 *first;
	u64 at;

	if (is_hash(map)) {
		at = hash_index(map, key);
		if (at == FREE_END)
			return -E_NOENT;
		first = map_region(map) + map->values + at * map->stride;
	} else {
		if (*(const u32 *)key >= map->max_entries)
			return -E_2BIG;
		first = array_value(map, *(const u32 *)key, 0);
	}
	for (u32 cell = 0; cell < map->cells; cell++)
		copy_words(first + cell * map->block, values + (u64)cell * map->stride, map->stride);
	return 0;
}

HELPER s64 map_next_key(struct map *map, const void *key, void *next)
{
	u64 at;

	if (is_hash(map)) {
		at = key ? hash_index(map, key) : FREE_END;
		at = hash_next(map, at);
		if (at == FREE_END)
			return -E_NOENT;
		copy_words(next, hash_key_at(map, at), map->key_size);
		return 0;
	}
	if (!is_array(map))
		return -E_INVAL;
	if (!key || *(const u32 *)key >= map->max_entries)
		*(u32 *)next = 0;
	else if (*(const u32 *)key == map->max_entries - 1)
		return -E_NOENT;
	else
		*(u32 *)next = *(const u32 *)key + 1;
	return 0;
}

// Walk all entries; the callback may delete the one it is given. Returns how many it saw.
HELPER s64 map_for_each(struct map *map, map_callback call, u64 data, u64 flags, void *shared)
{
	u64 at, next;
	s64 seen = 0;

	if (flags)
		return -E_INVAL;
	if (is_array(map)) {
		for (u32 i = 0; i < map->max_entries; i++, seen++) {
			u32 index = i;

			if (call(map, &index, array_value(map, i, own_cell(map)), data, 0, shared))
				return seen + 1;
		}
		return seen;
	}
	if (is_thread(map)) {
		for (at = thread_next(map, 0); at != ~0ULL; at = thread_next(map, at + 1), seen++) {
			void *key = thread_key_at(map, at);

			if (call(map, key, (u8 *)key + ((map->key_size + 7) & ~7u), data, 0, shared))
				return seen + 1;
		}
		return seen;
	}
	if (!is_hash(map))
		return -E_INVAL;
	for (at = hash_next(map, FREE_END); at != FREE_END && seen <= map->max_entries; at = next, seen++) {
		next = hash_next(map, at);
		if (call(map, hash_key_at(map, at), hash_value_at(map, at), data, 0, shared))
			return seen + 1;
	}
	return seen;
}

// The chain's entry behind `last`, or the one at `position` where `last` is no longer in it; FREE_END at its end.
static u64 chain_next(struct map *map, u32 bucket, u32 last, u32 *position)
{
	u64 at = hash_first(map, bucket), nth = FREE_END;

	for (u32 i = 0; at != FREE_END && i < map->max_entries; i++) {
		u64 next = hash_after(map, at);

		if (at == last) {
			*position = i + 1;
			return next;
		}
		if (i == *position)
			nth = at;
		at = next;
	}
	return nth;
}

// Copy the key of the next entry and return 1, or 0 at the end. The cursor begins as zeros; entries may come and
// go meanwhile: one that stays is seen once.
HELPER u64 map_iterate(struct map *map, struct map_cursor *cursor, void *key)
{
	u64 at;

	if (is_thread(map)) {
		at = thread_next(map, cursor->place);
		if (at == ~0ULL)
			return 0;
		cursor->place = (u32)at + 1;
		copy_words(key, thread_key_at(map, at), map->key_size);
		return 1;
	}
	if (!is_hash(map))
		return 0;
	for (; cursor->place <= map->mask; cursor->place++, cursor->position = 0, cursor->last = 0) {
		at = chain_next(map, cursor->place, cursor->last - 1, &cursor->position);
		if (at == FREE_END)
			continue;
		cursor->last = (u32)at + 1;
		copy_words(key, hash_key_at(map, at), map->key_size);
		return 1;
	}
	return 0;
}

// How many keys a map has.
HELPER u64 map_length(struct map *map)
{
	u64 count = 0;

	if (is_thread(map)) {
		for (u64 at = thread_next(map, 0); at != ~0ULL; at = thread_next(map, at + 1))
			count++;
		return count;
	}
	if (!is_hash(map))
		return map->max_entries;
	for (u64 at = hash_next(map, FREE_END); at != FREE_END && count < map->max_entries; at = hash_next(map, at))
		count++;
	return count;
}

// Sum of one word over all cells; `word` is in the first one.
HELPER u64 cells_sum(struct map *map, const u8 *word)
{
	u64 sum = 0;

	for (u32 cell = 0; cell < map->cells; cell++)
		sum += __atomic_load_n((const u64 *)(word + cell * map->block), __ATOMIC_RELAXED);
	return sum;
}

// Take from a value with cells what was read of it, so that what programs have added since stays; a key of which
// nothing stays is deleted. `taken`: as many words as a value has.
HELPER s64 map_take(struct map *map, const void *key, const u64 *taken)
{
	u64 at = is_hash(map) ? hash_index(map, key) : *(const u32 *)key, words = map->stride / 8, left = 0;
	u8 *first;

	if (at >= map->max_entries || map->cells < 2 || has_cpus(map))
		return -E_INVAL;
	first = is_hash(map) ? map_region(map) + map->values + at * map->stride : array_value(map, at, 0);
	for (u64 i = 0; i < words; i++) {
		// The last block is the one that all threads change by locked instructions.
		u64 *shared = (u64 *)(first + (map->cells - 1) * map->block) + i;

		__atomic_fetch_sub(shared, taken[i], __ATOMIC_RELAXED);
		left |= cells_sum(map, first + 8 * i);
	}
	return left || !is_hash(map) ? 0 : hash_delete(map, key);
}

// Delete every entry (hash) or zero every value; programs may run meanwhile.
HELPER s64 map_clear(struct map *map)
{
	u64 at;

	if (is_thread(map))
		return thread_reset(map, 0);
	if (is_array(map)) {
		for (u32 cell = 0; cell < map->cells; cell++)
			zero_words(array_value(map, 0, cell), (u64)map->stride * map->max_entries / 8);
		return 0;
	}
	if (!is_hash(map))
		return -E_INVAL;
	at = hash_next(map, FREE_END);
	for (u64 left = 2 * (u64)map->max_entries; left && at != FREE_END; left--) {
		u64 next = hash_next(map, at); // what programs add behind us meanwhile is new and stays

		hash_delete(map, hash_key_at(map, at));
		at = next;
	}
	return 0;
}

// Zero every value and keep the keys.
HELPER s64 map_zero(struct map *map)
{
	if (is_thread(map))
		return thread_reset(map, 1);
	if (!is_hash(map))
		return map_clear(map);
	for (u64 at = hash_next(map, FREE_END); at != FREE_END; at = hash_next(map, at)) {
		u8 *first = map_region(map) + map->values + at * map->stride;

		if (map->cells == 1)
			first = hash_value_at(map, at);
		for (u32 cell = 0; cell < map->cells; cell++)
			zero_words(first + cell * map->block, map->stride / 8);
	}
	return 0;
}
