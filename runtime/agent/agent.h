// What the files of the agent share: its own data, the state of the target, small pieces without libc.
#pragma once
#include "sys.h"

#ifndef AGENT_HASH
#define AGENT_HASH "unbuilt"
#endif

// Saves every register it uses, so compiled programs (preserve_mostcc) may call it with an ordinary signature.
#define HELPER __attribute__((no_caller_saved_registers))

typedef s64 (*clock_fn)(s64 clock, s64 *timespec);

struct agent {
	struct state *state;
	struct process_page *process; // anonymous, wiped in a fork child
	s32 rseq_offset; // of struct rseq from fs base, 0 none
	s32 tid_offset; // of the thread id in the libc's thread block, 0 none
	u32 reads_by_fault; // 1: plain loads behind a SIGSEGV handler, 0: process_vm_readv
	u32 pad;
	clock_fn vdso_clock_gettime; // 0: none found, use the system call
};

extern struct agent agent;

static inline u64 fs_base(void)
{
	u64 base;

	__asm__ volatile("mov %%fs:0, %0" : "=r"(base));
	return base;
}

static inline void copy_bytes(void *to, const void *from, u64 bytes)
{
	void *d = to;
	const void *s = from;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(bytes) : : "memory");
}

static inline void zero_bytes(void *to, u64 bytes)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(0) : "memory");
}

static inline int same_bytes(const void *a, const void *b, u64 bytes)
{
	const u8 *x = a, *y = b;

	for (u64 i = 0; i < bytes; i++)
		if (x[i] != y[i])
			return 0;
	return 1;
}

// Wait until a word is no longer `value`, for {s, ns} at most: futex(2). It is counted: who has waited a moment ago is
// still inside our code, however long it has run.
HELPER s64 agent_wait(const u32 *word, u32 value, const s64 *limit);
// Thread id of the caller: a load from the libc's thread block where its place is known, else gettid().
HELPER u32 agent_tid(void);
HELPER u64 current_pid(void);
// Slot of this process in the region's process table; claims one on first use and again after fork.
HELPER u32 agent_slot(struct region *region);

// agent.c
s32 agent_find_tid_offset(void);
int agent_start(void);
int agent_map_region(const u8 id[16], u64 base, u64 bytes, u64 offset);
struct state_region *agent_find_region(const u8 id[16]);
// serve.c: handle the frames in `in`, write replies to `out`; returns bytes of replies. `go` is set by GO.
u64 serve_frames(const u8 *in, u64 bytes, u8 *out, u64 room, int *go);
// site.c
int sites_apply(const struct range *ranges, u32 n_ranges, struct site *sites, u32 n_sites, s32 *status);
int sites_remove(const struct range *ranges, u32 n_ranges, const u32 *index, u32 n, s32 *status);
// detour.c: let threads that arrive at a site of such a kind go on in its thunk; from `detour_end` on, at the site.
s32 detour_add(const struct site *site);
void detour_end(const struct site *site);
void detours_close(void); // no site is left, and no thread on its way
static inline int is_detour(const struct site *site)
{
	return site->kind == SITE_TRAP || site->kind == SITE_PAGE;
}
int cores_sync(void); // serialise every core that runs this process: 0, or -errno where the kernel cannot
// fault.c: install (1) or remove (0) the handler for guarded loads. Returns 0 or -errno.
int fault_handler(int on);
// dispatch.c: let the kernel hand over the calling thread's system calls, or no thread's any more. Returns 0 or -errno.
s64 dispatch_calls(const struct dispatch_request *want);
HELPER s64 dispatch_anew(void);
// sample.c: run a program now and then; returns the signal that does it, or -errno. Stop those of a session, or all.
s64 sample_start(const struct sample_request *want);
void sample_stop(const u8 *session);
// desk.c: say something to the tracer and wait until it says go on. A place is given back by desk_leave.
struct knock *desk_knock(struct region *region, u32 reason, u64 argument, u32 limit_ms);
void desk_announce(struct region *region, struct knock *place, u32 reason);
int desk_wait(struct region *region, struct knock *place, u32 limit_ms);
void desk_leave(struct knock *place);
u32 desk_patience(const struct region *region, u32 limit_ms, u32 state);
// clock.c: find __vdso_clock_gettime below the vDSO at `ehdr` (0: look it up nowhere).
void clock_init(u64 ehdr);
