// The desk: where a thread of the target says what it is about to do, and waits until the tracer has come by.
//
// It takes a place in the session's region, rings the doorbell and sleeps on a futex: no descriptor, no memory,
// and nothing but futex() that a sandbox might refuse. Where no tracer answers, the program goes on unprobed.
#include "agent.h"

enum { FUTEX_WAIT = 0, FUTEX_WAKE = 1, SYS_ACCESS = 21 };
enum { SLICE_NS = 50000000, SLICE_MS = 50, PATIENCE_MS = 60000, STRANGER_MS = 2000, EXEC_MS = 10000 };
enum { MAY_EXECUTE = 1, EMPTY_PATH = 0x1000, STATE_DELETE = 2 };

struct link_debug { // struct r_debug of <link.h>; `next` from version 2 on (glibc 2.35)
	s32 version, pad;
	u64 map, brk;
	s32 state, pad2;
	u64 ldbase;
	struct link_debug *next;
};

static struct hooks *hooks(void)
{
	return (void *)((u8 *)agent.state + STATE_HOOKS);
}

static struct knock *take_place(struct region *region)
{
	struct knock *desk = (void *)((u8 *)region + REGION_DESK);

	for (u32 i = 0; i < DESK_PLACES; i++) {
		u32 none = KNOCK_FREE;

		if (__atomic_compare_exchange_n(&desk[i].state, &none, KNOCK_TAKEN, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return &desk[i];
	}
	return 0;
}

// Whether waiting is of use, and how long in all. A tracer in another pid namespace cannot be asked for.
u32 desk_patience(const struct region *region, u32 limit_ms, u32 state)
{
	s64 err;

	if (region->off)
		return 0;
	if (region->tracer_ns != hooks()->ns_inode)
		return limit_ms < STRANGER_MS && state != KNOCK_SEEN ? limit_ms : STRANGER_MS;
	err = sys(SYS_KILL, region->tracer_pid, 0);
	if (err && err != -E_PERM)
		return 0;
	return state == KNOCK_SEEN ? PATIENCE_MS : limit_ms;
}

// Wait for GO. Returns 1, or 0 when nobody came: the place is then left for the tracer to free.
int desk_wait(struct region *region, struct knock *place, u32 limit_ms)
{
	s64 slice[2] = { 0, SLICE_NS };

	for (u32 waited = 0;;) {
		u32 state = __atomic_load_n(&place->state, __ATOMIC_ACQUIRE);

		if (state == KNOCK_GO)
			return 1;
		if (waited >= desk_patience(region, limit_ms, state)) {
			if (!__atomic_compare_exchange_n(&place->state, &state, KNOCK_LATE, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
				continue;
			if (waited >= EXEC_MS) // somebody else bears its number: nobody is to wait again
				region->off = 1;
			return 0;
		}
		if (agent_wait(&place->state, state, slice) == -E_TIMEDOUT)
			waited += SLICE_MS;
	}
}

void desk_announce(struct region *region, struct knock *place, u32 reason)
{
	place->reason = reason;
	__atomic_store_n(&place->state, KNOCK_WAITING, __ATOMIC_RELEASE);
	__atomic_fetch_add(&region->doorbell, 1, __ATOMIC_RELEASE);
	sys(SYS_FUTEX, &region->doorbell, FUTEX_WAKE, 1);
}

// Say it and wait. Returns the place, still ours, or 0 when nobody came.
struct knock *desk_knock(struct region *region, u32 reason, u64 argument, u32 limit_ms)
{
	s64 slice[2] = { 0, SLICE_NS / 10 };
	struct knock *place = take_place(region);

	for (u32 waited = 0; !place && waited < desk_patience(region, limit_ms, KNOCK_WAITING); waited += SLICE_MS / 10) {
		u32 never = 0;

		agent_wait(&never, 0, slice); // all are taken
		place = take_place(region);
	}
	if (!place)
		return 0;
	current_pid(); // a fork child's page is wiped: its namespace is looked up anew
	place->ns_pid = (u32)sys(SYS_GETPID);
	place->ns_tid = (u32)sys(SYS_GETTID);
	place->ns_inode = hooks()->ns_inode;
	place->argument = argument;
	desk_announce(region, place, reason);
	return desk_wait(region, place, limit_ms) ? place : 0;
}

void desk_leave(struct knock *place)
{
	if (place)
		__atomic_store_n(&place->state, KNOCK_FREE, __ATOMIC_RELEASE);
}

static struct link_debug *loader_debug(void)
{
	struct hooks *own = hooks();

	if (own->debug_slot)
		return *(struct link_debug **)own->debug_slot;
	return (void *)own->debug;
}

// At the loader's own breakpoint for debuggers: called before and after each change of what is loaded, with
// the loader's lock held. 0 consistent, 1 about to add, 2 about to delete.
HELPER s64 on_load(struct region *region)
{
	const struct link_debug *debug = loader_debug();
	int adding = 0, deleting = 0;

	for (u32 i = 0; debug && i < 16; i++) {
		deleting |= debug->state == STATE_DELETE;
		adding |= debug->state == 1;
		debug = debug->version > 1 ? debug->next : 0;
	}
	if (adding || (deleting && !hooks()->watches))
		return 0;
	desk_leave(desk_knock(region, deleting ? KNOCK_UNLOADING : KNOCK_LOADED, 0, hooks()->started ? hooks()->wait_ms : PATIENCE_MS));
	hooks()->started = 1;
	return 0;
}

// The calls that on_exec makes for the program: here they can be traced as the program's own would be, by a jump over the
// first instruction and one over the third.
s64 exec_call(u64 path, u64 argv, u64 envp);
s64 exec_call_at(u64 folder, u64 path, u64 argv, u64 envp, u64 flags);
__asm__(".text\n.type exec_call, @function\nexec_call: mov $59, %eax\n\tsyscall\n"
	"\t.byte 0x0f, 0x1f, 0x80, 0, 0, 0, 0\n\tret\n"
	".size exec_call, . - exec_call\n"
	".type exec_call_at, @function\nexec_call_at: mov %rcx, %r10\n\tmov $322, %eax\n\tsyscall\n"
	"\t.byte 0x0f, 0x1f, 0x80, 0, 0, 0, 0\n\tret\n"
	".size exec_call_at, . - exec_call_at\n");

// Before execve(a, b, c), execveat(a, b, c, d, e) and fexecve(a, b, c), whose numbers are 0, 1 and 2. The tracer
// follows the thread into the new program, so the call is made from here: where it fails, the tracer is told
// to let go, and the function that was called fails by itself.
HELPER s64 on_exec(struct region *region, const u64 *args, u64 which)
{
	struct knock *place;

	if (which == 0 && sys(SYS_ACCESS, args[0], MAY_EXECUTE))
		return 0;
	place = desk_knock(region, KNOCK_EXEC, which == 0 ? args[0] : 0, EXEC_MS);
	if (!place)
		return 0;
	if (which == 0)
		exec_call(args[0], args[1], args[2]);
	else if (which == 1)
		exec_call_at(args[0], args[1], args[2], args[3], args[4]);
	else
		exec_call_at(args[0], (u64)"", args[1], args[2], EMPTY_PATH);
	desk_announce(region, place, KNOCK_EXEC_FAILED);
	if (desk_wait(region, place, EXEC_MS))
		desk_leave(place);
	return 0;
}
