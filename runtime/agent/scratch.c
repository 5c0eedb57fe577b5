// Scratch memory for programs: per thread, a buffer for each nesting level (a signal may interrupt a probe).
//
// The table is private to the process, so a fork child has its own copy. A row belongs to a thread id; the
// row of a thread that has ended is taken over by the next thread that needs one.
#include "map.h"

enum { ROWS = 4096, LEVELS = 4, PROBES = 16, SYS_TKILL = 200 };
enum { GUARD = 64 }; // before each buffer: where its row is

struct level {
	u8 *memory;
	u64 bytes;
};

struct row {
	u32 tid;
	u32 depth;
	struct level levels[LEVELS];
};

static struct row rows[ROWS];

static struct row *row_of(u32 tid)
{
	u32 start = tid * 0x9e3779b1u >> 20;

	for (u32 i = 0; i < PROBES; i++) {
		struct row *row = &rows[(start + i) % ROWS];
		u32 owner = __atomic_load_n(&row->tid, __ATOMIC_RELAXED);

		if (owner == tid)
			return row;
		if (!owner && __atomic_compare_exchange_n(&row->tid, &owner, tid, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return row;
	}
	for (u32 i = 0; i < PROBES; i++) {
		struct row *row = &rows[(start + i) % ROWS];
		u32 owner = __atomic_load_n(&row->tid, __ATOMIC_RELAXED);

		if (sys(SYS_TKILL, owner, 0) != -E_SRCH)
			continue;
		if (__atomic_compare_exchange_n(&row->tid, &owner, tid, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
			row->depth = 0;
			return row;
		}
	}
	return 0;
}

static u8 *grow(struct level *level, u64 bytes)
{
	u64 size = (bytes + GUARD + 4095) & ~4095ULL;
	s64 at;

	if (level->bytes >= bytes && level->memory)
		return level->memory;
	at = sys(SYS_MMAP, 0, size, PROT_R | PROT_W, PRIVATE | ANONYMOUS, -1, 0);
	if (is_error(at))
		return 0;
	if (level->memory)
		sys(SYS_MUNMAP, level->memory - GUARD, level->bytes + GUARD);
	level->memory = (u8 *)at + GUARD;
	level->bytes = size - GUARD;
	return level->memory;
}

// Memory of at least `bytes` until frame_leave, or null: nested too deep, or no memory.
HELPER void *frame_enter(u64 bytes)
{
	struct row *row = row_of(agent_tid());
	u8 *memory;
	u32 depth;

	if (!row || row->depth >= LEVELS)
		return 0;
	depth = row->depth++; // before anything else: a signal from here on takes the next level
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	memory = grow(&row->levels[depth], bytes);
	if (!memory) {
		row->depth--;
		return 0;
	}
	*(struct row **)(memory - GUARD) = row;
	return memory;
}

HELPER void frame_leave(u8 *memory)
{
	struct row *row;

	if (!memory)
		return;
	row = *(struct row **)(memory - GUARD);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	row->depth--;
}
