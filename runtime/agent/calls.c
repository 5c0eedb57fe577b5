// Numbers of system calls that are under way, for places where the code does not tell which call was made.
//
// Kept per thread, by the place of the call and the stack pointer there: a signal handler that interrupts a
// call has another stack pointer, and whoever calls again from the same place has returned before. So nothing
// is ever taken off; what is overwritten is the oldest. The table is private: a fork child has a copy.
#include "map.h"

enum { CALL_ROWS = 4096, DEPTH = 8, TRIES = 16, BITMAP = 512 };

struct call {
	u64 place, stack;
};

struct call_row {
	u32 tid, next;
	u32 number[DEPTH];
	struct call call[DEPTH];
};

static struct call_row *rows;

static struct call_row *table(void)
{
	struct call_row *found = __atomic_load_n(&rows, __ATOMIC_ACQUIRE), *none = 0;
	s64 at;

	if (found)
		return found;
	at = sys(SYS_MMAP, 0, CALL_ROWS * sizeof(struct call_row), PROT_R | PROT_W, PRIVATE | ANONYMOUS | NORESERVE, -1, 0);
	if (is_error(at))
		return 0;
	if (__atomic_compare_exchange_n(&rows, &none, (struct call_row *)at, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return (struct call_row *)at;
	sys(SYS_MUNMAP, at, CALL_ROWS * sizeof(struct call_row));
	return none;
}

static struct call_row *row_of(u32 tid, int take)
{
	struct call_row *all = table();
	u32 start = tid * 0x9e3779b1u >> 20;

	for (u32 i = 0; all && i < TRIES; i++) {
		struct call_row *row = &all[(start + i) % CALL_ROWS];
		u32 owner = __atomic_load_n(&row->tid, __ATOMIC_RELAXED);

		if (owner == tid)
			return row;
		if (!take)
			continue;
		if (owner && sys(SYS_TGKILL, sys(SYS_GETPID), owner, 0) != -E_SRCH)
			continue;
		if (__atomic_compare_exchange_n(&row->tid, &owner, tid, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return row;
	}
	return 0;
}

static struct call *find(struct call_row *row, u64 place, u64 stack)
{
	for (u32 i = 0; row && i < DEPTH; i++)
		if (row->call[i].place == place && row->call[i].stack == stack)
			return &row->call[i];
	return 0;
}

// Before a call: keep its number.
HELPER void call_note(u64 place, u64 stack, u64 number)
{
	struct call_row *row = row_of(agent_tid(), 1);
	struct call *call = find(row, place, stack);

	if (!row)
		return;
	if (!call) {
		call = &row->call[row->next++ % DEPTH];
		call->place = 0; // a signal from here on finds nothing half written
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		call->stack = stack;
	}
	row->number[call - row->call] = (u32)number;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	call->place = place;
}

// Behind it: the number, -1 where none was kept or where it is none of those in the bitmap (null: all).
HELPER s64 call_number(u64 place, u64 stack, const u64 *wanted)
{
	struct call_row *row = row_of(agent_tid(), 0);
	struct call *call = find(row, place, stack);
	u32 number;

	if (!call)
		return -1;
	number = row->number[call - row->call];
	if (!wanted)
		return number;
	return number < BITMAP && wanted[number / 64] >> (number % 64) & 1 ? (s64)number : -1;
}
