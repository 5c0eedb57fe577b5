// Replaced return addresses, the last resort for return probes: only where the user has allowed it.
//
// The true addresses are kept per thread, each with the stack slot that it came from. Frames that were left by
// longjmp or an exception lie below the slot at hand and are dropped; nothing relies on calls and returns
// being in balance.
#include "agent.h"

enum { THREADS = 1024, DEPTH = 255 };

struct frames {
	u32 tid, depth;
	u64 spare;
	struct {
		u64 slot, address;
	} frame[DEPTH];
};

static struct frames *threads;

static struct frames *table(void)
{
	struct frames *known = __atomic_load_n(&threads, __ATOMIC_ACQUIRE), *none = 0;
	s64 made;

	if (known)
		return known;
	made = sys(SYS_MMAP, 0, THREADS * sizeof(struct frames), PROT_R | PROT_W, PRIVATE | ANONYMOUS | NORESERVE, -1, 0);
	if (is_error(made))
		return 0;
	if (__atomic_compare_exchange_n(&threads, &none, (struct frames *)made, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return (struct frames *)made;
	sys(SYS_MUNMAP, made, THREADS * sizeof(struct frames));
	return none;
}

static struct frames *frames_of(u32 tid)
{
	struct frames *all = table();

	for (u32 i = 0; all && i < THREADS; i++) {
		struct frames *one = &all[(tid + i) % THREADS];
		u32 free = 0;

		if (__atomic_load_n(&one->tid, __ATOMIC_RELAXED) == tid ||
		    __atomic_compare_exchange_n(&one->tid, &free, tid, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return one;
	}
	return 0;
}

// Replace the return address in `*slot` by `stub`; where there is no room the call goes unseen.
HELPER s64 swap_enter(u64 *slot, u64 stub)
{
	struct frames *mine = frames_of(agent_tid());

	if (!mine)
		return -E_NOSPC;
	while (mine->depth && mine->frame[mine->depth - 1].slot <= (u64)slot)
		mine->depth--;
	if (mine->depth == DEPTH)
		return -E_NOSPC;
	mine->frame[mine->depth].slot = (u64)slot;
	mine->frame[mine->depth].address = *slot;
	mine->depth++;
	*slot = stub;
	return 0;
}

static u64 take_frame(struct frames *one, u64 slot)
{
	for (u32 i = one->depth; i; i--) {
		if (one->frame[i - 1].slot != slot)
			continue;
		one->depth = i - 1;
		return one->frame[i - 1].address;
	}
	return 0;
}

// The true return address of the frame whose slot this was. A fork child's frames bear its parent's thread id.
HELPER u64 swap_leave(u64 slot)
{
	struct frames *mine = frames_of(agent_tid());
	u64 address = mine ? take_frame(mine, slot) : 0;

	for (u32 i = 0; !address && threads && i < THREADS; i++)
		address = take_frame(&threads[i], slot);
	return address;
}

// The true return address behind a replaced one, which stays; 0 where it was not replaced.
HELPER u64 swap_peek(u64 slot)
{
	struct frames *mine = __atomic_load_n(&threads, __ATOMIC_ACQUIRE) ? frames_of(agent_tid()) : 0;

	for (u32 i = mine ? mine->depth : 0; i; i--)
		if (mine->frame[i - 1].slot == slot)
			return mine->frame[i - 1].address;
	return 0;
}
