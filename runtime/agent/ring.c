// Producing into rings. A position is claimed by one compare-and-swap; nobody waits for anybody, but for the reader
// where the tracer wants no record lost.
//
// The header is written after the claim, so the consumer believes one only if its tag names that position.
#include "ring.h"

enum { TAG_BITS = 22, RING_NO_WAKEUP = 1, RING_FORCE_WAKEUP = 2, NAP_NS = 200000 };

static int has_room(struct ring *ring, u64 need)
{
	u64 used = __atomic_load_n(&ring->produced, __ATOMIC_RELAXED) -
		   __atomic_load_n(&ring->consumed, __ATOMIC_ACQUIRE);

	return used + need <= ring->size;
}

// Wait until the reader has made room, where the tracer asks for that. A reader that takes nothing for so long is
// waited for no more, until it says so again; one that goes says so as well.
static int room_comes(struct ring *ring, u64 need)
{
	s64 nap[2] = { 0, NAP_NS };
	u32 word = 0;

	for (u32 naps = 0; naps < __atomic_load_n(&ring->patience, __ATOMIC_RELAXED); naps++) {
		agent_wait(&word, 0, nap);
		if (has_room(ring, need))
			return 1;
	}
	__atomic_store_n(&ring->patience, 0, __ATOMIC_RELAXED);
	return 0;
}

HELPER void *ring_reserve(struct ring *ring, struct region *region, u64 size)
{
	u64 need = (size + RING_HEADER + 7) & ~7ULL;
	u64 at = __atomic_load_n(&ring->produced, __ATOMIC_RELAXED);
	u64 *header;
	u32 tag;

	do {
		u64 used = at - __atomic_load_n(&ring->consumed, __ATOMIC_ACQUIRE);

		while (size < RING_DISCARD && used + need > ring->size && room_comes(ring, need)) {
			at = __atomic_load_n(&ring->produced, __ATOMIC_RELAXED);
			used = at - __atomic_load_n(&ring->consumed, __ATOMIC_ACQUIRE);
		}
		if (size >= RING_DISCARD || used + need > ring->size) {
			__atomic_fetch_add(&ring->lost, 1, __ATOMIC_RELAXED);
			__atomic_fetch_add(&ring->lost_bytes, size, __ATOMIC_RELAXED);
			return 0;
		}
	} while (!__atomic_compare_exchange_n(&ring->produced, &at, at + need, 1, __ATOMIC_ACQ_REL,
					      __ATOMIC_RELAXED));
	tag = (u32)((at >> 3 ^ at >> 26 ^ ring->secret) & ((1u << TAG_BITS) - 1));
	tag |= agent_slot(region) << TAG_BITS;
	header = (u64 *)(ring->data + (at & (ring->size - 1)));
	__atomic_store_n(header, (u64)tag << 32 | RING_BUSY | size, __ATOMIC_RELEASE);
	return header + 1;
}

HELPER s64 ring_output(struct ring *ring, struct region *region, const void *data, u64 size, u64 flags)
{
	void *record;

	if (flags & ~3ULL)
		return -E_INVAL;
	record = ring_reserve(ring, region, size);
	if (!record)
		return -E_AGAIN;
	copy_words(record, data, size);
	ring_commit(record);
	return 0;
}

// One ring serves all CPUs of a perf event array: records say which CPU they are from.
HELPER s64 perf_output(struct ring *ring, struct region *region, u64 flags, const void *data, u64 size)
{
	u64 cpu = current_cpu();
	u32 *record;

	if (flags >> 32)
		return -E_INVAL;
	if (flags != 0xffffffff && flags >= region->cpus)
		return -E_2BIG;
	if (flags != 0xffffffff && flags != cpu)
		return -E_NOTSUP;
	record = ring_reserve(ring, region, size + 8);
	if (!record)
		return -E_NOSPC;
	record[0] = (u32)cpu;
	record[1] = (u32)size;
	copy_words(record + 2, data, size);
	ring_commit(record);
	return 0;
}

HELPER u64 ring_query(struct ring *ring, u64 what)
{
	u64 produced = __atomic_load_n(&ring->produced, __ATOMIC_ACQUIRE);
	u64 consumed = __atomic_load_n(&ring->consumed, __ATOMIC_ACQUIRE);
	u64 answers[] = { produced - consumed, ring->size, consumed, produced };

	return what < 4 ? answers[what] : 0;
}

enum { TOLD = 10 }; // failures of one place of a script that are told; runtime/lang/complaints.py has the number too

// Count a failure of a script's operation, and tell the first few: {u16 event, zeros; s64 result}.
HELPER s64 complain(struct ring *ring, struct region *region, u64 *count, u64 event, s64 result)
{
	u64 record[2] = { (u16)event, (u64)result };

	if (__atomic_fetch_add(count, 1, __ATOMIC_RELAXED) >= TOLD)
		return 0;
	return ring_output(ring, region, record, sizeof record, 0);
}
