// At functions of the CUDA driver, before they run: the tracer is told and says what is to be done instead.
//
// What is done are calls, of functions and of the system, that the tracer writes into a frame on the thread's own stack: an
// image is woven there, memory of the device is taken here, by the thread that has the context. Functions that are
// called from here pass by: a thread inside is not asked again. Whoever gets no answer runs on as if nothing had been.
#include "agent.h"

enum { FUTEX_WAIT = 0, FUTEX_WAKE = 1, LIMIT_MS = 10000, THREADS = 64, SLICE_NS = 200000000, BLOCK = 0, PR_SET_NAME = 15 };
enum { FLAG = 0, VALUE = 1, STACK = 2, TRIES = 64, NUMBERS = 4096 }; // words of the thunk: whether the function is left out, and what its caller gets then

typedef s32 (*call_fn)(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64);

static u32 inside[THREADS];

static u32 *place_of(u32 tid)
{
	for (u32 i = 0; i < THREADS; i++)
		if (__atomic_load_n(&inside[i], __ATOMIC_RELAXED) == tid)
			return &inside[i];
	return 0;
}

static u32 *enter(u32 tid)
{
	for (u32 i = 0; i < THREADS; i++) {
		u32 none = 0;

		if (__atomic_compare_exchange_n(&inside[i], &none, tid, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return &inside[i];
	}
	return 0;
}

static int is_seen(u64 handle)
{
	const struct cuda_state *state = (void *)((u8 *)agent.state + STATE_CUDA);

	if (state->seen[0] == ~0ULL)
		return 1;
	for (u32 i = 0; i < sizeof(state->seen) / sizeof(state->seen[0]); i++)
		if (state->seen[i] == handle)
			return 1;
	return 0;
}

static s64 make_call(const struct cuda_call *call)
{
	const u64 *a = call->arguments;

	if (!call->function)
		return sys(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
	return ((call_fn)call->function)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11]);
}

// Make the calls of a frame in order. `words`, where there are any, get the result of the one that stands for the hooked function.
static void make_calls(struct cuda_frame *frame, u64 *words)
{
	struct cuda_call *call = (void *)frame->calls;

	for (frame->done = 0; frame->done < frame->count && frame->done < CUDA_CALLS; call++) {
		call->result = make_call(call);
		frame->done++;
		if (words && call->flags & CUDA_MAIN) {
			words[FLAG] = !call->result;
			words[VALUE] = (u64)call->result;
		}
		if (call->flags & CUDA_MUST && (call->function ? call->result != 0 : is_error(call->result)))
			break;
	}
}

static void converse(struct region *region, struct cuda_frame *frame, u64 *words)
{
	struct knock *place = desk_knock(region, KNOCK_CUDA, (u64)frame, LIMIT_MS);

	while (place && frame->count) {
		make_calls(frame, words);
		frame->count = 0;
		desk_announce(region, place, KNOCK_CUDA);
		if (!desk_wait(region, place, LIMIT_MS))
			return;
	}
	desk_leave(place);
}

// Let the tracer say something to a thread that is about to do something, unless it is one that we do ourselves.
static void ask(struct region *region, u64 *arguments, u32 which, u64 *words)
{
	struct cuda_frame frame;
	u32 tid = agent_tid(), *place;

	if (region->off || place_of(tid))
		return;
	place = enter(tid);
	if (!place)
		return;
	frame.arguments = (u64)arguments;
	frame.words = (u64)words;
	frame.which = which;
	frame.count = frame.done = 0;
	converse(region, &frame, words);
	__atomic_store_n(place, 0, __ATOMIC_RELEASE);
}

// Before a function of the driver. `arguments`: its six registers, which it gets back as they are then.
HELPER s64 on_cuda(struct region *region, u64 *arguments, u64 which, u64 *words)
{
	if (!(which & CUDA_ANY && is_seen(arguments[0])))
		ask(region, arguments, (u32)which, words);
	return 0;
}

// A kernel is registered (`__cudaRegisterFunction`): noted in a table of the process's own, which the tracer reads when the image's
// registration ends; programs register tens of thousands. One that finds no room makes the thread knock, and the table is empty again.
HELPER s64 on_cuda_name(struct region *region, u64 *arguments, u64 which, u64 *words)
{
	struct cuda_names *names = (void *)((struct cuda_state *)((u8 *)agent.state + STATE_CUDA))->names;
	struct cuda_name *one;
	u64 at;

	if (!names || region->off)
		return 0;
	at = __atomic_fetch_add(&names->used, 1, __ATOMIC_RELAXED);
	if (at >= names->room) {
		ask(region, arguments, (u32)which, words);
		at = __atomic_fetch_add(&names->used, 1, __ATOMIC_RELAXED);
	}
	if (at >= names->room)
		return 0;
	one = (struct cuda_name *)(names + 1) + at;
	one->host = arguments[1];
	one->name = arguments[3];
	__atomic_store_n(&one->handle, arguments[0], __ATOMIC_RELEASE);
	return 0;
}

static const struct cuda_kernel *kernel_of(u64 handle)
{
	const struct cuda_state *state = (void *)((u8 *)agent.state + STATE_CUDA);
	const struct cuda_kernel *table = (void *)state->kernels;

	for (u64 i = 0, at = handle >> 4; table && i < TRIES; i++, at++) {
		const struct cuda_kernel *one = &table[at & state->mask];

		if (__atomic_load_n(&one->handle, __ATOMIC_ACQUIRE) == handle)
			return one;
	}
	return 0;
}

static const struct cuda_kernel *known(struct region *region, u64 *arguments, u64 form, u64 *words)
{
	u64 handle = arguments[!!(form & CUDA_HANDLE)];
	const struct cuda_kernel *one = kernel_of(handle);

	if (one)
		return one;
	ask(region, arguments, (u32)form | CUDA_FRESH, words);
	return kernel_of(handle);
}

// Before a launch: another kernel may be launched instead, one that was woven after this one was loaded.
HELPER s64 on_launch_instead(struct region *region, u64 *arguments, u64 form, u64 *words)
{
	const struct cuda_kernel *one = known(region, arguments, form, words);

	if (one && one->instead)
		arguments[!!(form & CUDA_HANDLE)] = one->instead;
	return 0;
}

static struct {
	u64 tid, number;
} numbers[NUMBERS]; // of the launch that a thread is making
static u64 launches;

// The number of a launch: a new one at the first program that sees it, the same at those behind.
static u64 number_of(int is_first)
{
	u32 tid = agent_tid(), at = tid % NUMBERS;

	if (is_first || numbers[at].tid != tid) {
		numbers[at].tid = tid;
		numbers[at].number = __atomic_add_fetch(&launches, 1, __ATOMIC_RELAXED);
	}
	return numbers[at].number;
}

// Before a launch whose end somebody wants to know: the tracer lets the thread launch between two events.
HELPER s64 on_launch_timed(struct region *region, u64 *arguments, u64 form, u64 *words)
{
	const struct cuda_kernel *one = known(region, arguments, form, words);

	if (place_of(agent_tid()))
		return 0;
	words[VALUE] = number_of(!!(form & CUDA_FIRST));
	if (one && one->probes >> (form & 63) & 1)
		ask(region, arguments, (u32)form | CUDA_TIMED, words);
	return 0;
}

// Before a launch: say what is launched. Returns whether the probe whose bit is in the form wants it. Sources: cuLaunchKernel and
// CUlaunchConfig of cuda.h; `words`: override flag and value, the stack pointer at the entry, the function.
HELPER s64 on_launch(struct region *region, u64 *arguments, u64 form, u64 *words, struct cuda_launch *launch)
{
	const struct cuda_kernel *one = known(region, arguments, form, words);
	const u32 *config = (const u32 *)arguments[0];
	const u64 *stack = (const u64 *)words[STACK];
	u64 number;

	if (place_of(agent_tid())) // a launch that we make in the place of the program's
		return 0;
	number = number_of(!!(form & CUDA_FIRST));
	if (!one || !(one->probes >> (form & 63) & 1))
		return 0;
	for (u32 i = 0; i < 3; i++) {
		launch->grid[i] = form & CUDA_HANDLE ? config[i] : (u32)arguments[1 + i];
		launch->block[i] = form & CUDA_HANDLE ? config[3 + i] : i < 2 ? (u32)arguments[4 + i] : (u32)stack[1];
	}
	launch->shared = form & CUDA_HANDLE ? config[6] : (u32)stack[2];
	launch->stream = form & CUDA_HANDLE ? *(const u64 *)(config + 8) : stack[3];
	launch->kernel = one->number;
	launch->number = number;
	launch->duration = 0;
	return 1;
}

// A thread of the program's own making that makes calls for the tracer while no hook does: device memory is read by it.
// It leaves by itself once the tracer is gone. Behind ENDED it touches nothing of the session.
void *cuda_serve(struct cuda_service *service);
void *cuda_serve(struct cuda_service *service)
{
	const struct region *region = (void *)service->region;
	u32 *turn = (void *)service->turn, *place = enter((u32)sys(SYS_GETTID));
	u64 all = ~0ULL;
	s64 slice[2] = { 0, SLICE_NS };

	sys(SYS_SIGPROCMASK, BLOCK, &all, 0, 8);
	sys(SYS_PRCTL, PR_SET_NAME, "bpftime");
	for (;;) {
		u32 now = __atomic_load_n(turn, __ATOMIC_ACQUIRE);

		if (now == CUDA_END)
			break;
		if (now == CUDA_CALL) {
			make_calls((void *)service->frame, 0);
			if (__atomic_compare_exchange_n(turn, &now, CUDA_DONE, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
				sys(SYS_FUTEX, turn, FUTEX_WAKE, 1);
			continue;
		}
		if (sys(SYS_FUTEX, turn, FUTEX_WAIT, now, slice) == -E_TIMEDOUT && !desk_patience(region, 1, KNOCK_SEEN))
			break;
	}
	if (place)
		__atomic_store_n(place, 0, __ATOMIC_RELEASE);
	__atomic_store_n(turn, CUDA_ENDED, __ATOMIC_RELEASE);
	return 0;
}
