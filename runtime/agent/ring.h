// Ring buffer: many producers, one consumer in the tracer. Positions only grow; data is mapped twice in a row.
#pragma once
#include "map.h"

enum { RING_BUSY = 1u << 31, RING_DISCARD = 1u << 30, RING_HEADER = 8 };

struct ring {
	u64 produced;
	u8 pad0[56];
	u64 lost, lost_bytes;
	u8 pad1[48];
	u64 size; // of the data, a power of two
	u32 secret, id;
	u64 self; // region offset of this page
	u32 patience; // times that a producer naps before it gives up, where the ring is full; 0: it gives up at once
	u8 pad2[3940];
	u64 consumed;
	u32 pad3[1022];
	u8 data[];
};
_Static_assert(__builtin_offsetof(struct ring, size) == 128, "size");
_Static_assert(__builtin_offsetof(struct ring, patience) == 152, "patience");
_Static_assert(__builtin_offsetof(struct ring, consumed) == 4096, "consumed");
_Static_assert(__builtin_offsetof(struct ring, data) == 8192, "data");

HELPER void *ring_reserve(struct ring *ring, struct region *region, u64 size);
HELPER s64 ring_output(struct ring *ring, struct region *region, const void *data, u64 size, u64 flags);

static inline void ring_commit(void *record)
{
	u32 *length = (u32 *)record - 2;

	__atomic_store_n(length, *length & ~RING_BUSY, __ATOMIC_RELEASE);
}
