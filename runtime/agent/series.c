// Time series: the value of each interval of a ring of intervals, changed by any thread.
#include "map.h"

enum { CLOCK_TAI = 11, SPINS = 4096, MODE = 15, UNSIGNED = 16 };
enum { LAST, AVERAGE, MINIMUM, MAXIMUM, SUM };
#define BUSY (1ULL << 63)

HELPER u64 clock_read(u64 clock);

struct interval {
	s64 value;
	u64 count; // of the values, for the average
	u64 epoch; // BUSY while it is changed
};

// Take an interval; gives its epoch. One whose holder does not let go (a thread that was interrupted or has
// ended inside) is taken over.
static u64 interval_lock(struct interval *at)
{
	u64 epoch = __atomic_load_n(&at->epoch, __ATOMIC_RELAXED);

	for (u32 i = 0; i < SPINS; i++) {
		epoch &= ~BUSY;
		if (__atomic_compare_exchange_n(&at->epoch, &epoch, epoch | BUSY, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return epoch;
		__builtin_ia32_pause();
	}
	return epoch & ~BUSY;
}

static int is_less(s64 a, s64 b, u64 how)
{
	return how & UNSIGNED ? (u64)a < (u64)b : a < b;
}

static void put_in(struct interval *at, s64 value, u64 how)
{
	u64 mode = how & MODE;

	if (mode == AVERAGE || mode == SUM)
		at->value += value;
	else if (!at->count || mode == LAST || (mode == MINIMUM && is_less(value, at->value, how)) ||
		 (mode == MAXIMUM && is_less(at->value, value, how)))
		at->value = value;
	at->count++;
}

// Add a value to the interval of now; `length` is that of an interval in ns.
HELPER s64 series_update(struct interval *ring, u64 bytes, s64 value, u64 length, u64 how)
{
	u64 epoch = clock_read(CLOCK_TAI) / length, before;
	struct interval *at = &ring[epoch % ((u32)bytes / sizeof *ring)];

	before = interval_lock(at);
	if (before > epoch) { // another thread is an interval ahead
		__atomic_store_n(&at->epoch, before, __ATOMIC_RELEASE);
		return 0;
	}
	if (before != epoch) {
		at->value = 0;
		at->count = 0;
	}
	put_in(at, value, how);
	__atomic_store_n(&at->epoch, epoch, __ATOMIC_RELEASE);
	return 0;
}
