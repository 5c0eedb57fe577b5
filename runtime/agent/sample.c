// Programs that run now and then: a signal interrupts a thread, the handler runs the program with its registers.
//
// A timer on the process's CPU time sends a real-time signal of ours, at most one at a time. Events that the tracer
// watches (perf_event_open) send an ordinary signal that nobody uses: those do not queue up, so a thread that blocks
// signals for long loses events and nothing else. Only signals that the program leaves at their default are taken.
#include "agent.h"

enum { SYS_TIMER_CREATE = 222, SYS_TIMER_SETTIME = 223, SYS_TIMER_DELETE = 226, PROCESS_CPUTIME = 2, SIGNALS = 65 };
enum { SA_SIGINFO = 4, SA_ONSTACK = 0x08000000, SA_RESTORER = 0x04000000, SA_RESTART = 0x10000000, SIG_IGNORED = 1 };
enum { FIRST_RT = 63, LAST_RT = 36, STKFLT = 16, PWR = 30, IO = 29, GREGS = 40, REGISTERS = 21 };

struct action { // the kernel's struct sigaction
	u64 handler, flags, restorer, mask;
};

struct event { // the kernel's struct sigevent
	u64 value;
	s32 signal, notify;
	u64 pad[6];
};

// struct pt_regs, and what bpf_perf_event_data has behind it; then two words of the program's own.
struct sample {
	u64 registers[REGISTERS];
	u64 period, address, calls, scratch;
};

struct sampler {
	u64 thunk, period, address;
	u8 session[16];
	s32 timer, signal;
};

static struct sampler samplers[SIGNALS]; // by signal

// Where each register of struct pt_regs is in ucontext's gregs (sys/ucontext.h); -1: none there.
static const signed char places[REGISTERS] = { 7, 6, 5, 4, 10, 11, 3, 2, 1, 0, 13, 14, 12, 9, 8, -1, 16, -1, 17, 15, -1 };

void sample_restorer(void);
__asm__(".text\n.type sample_restorer, @function\nsample_restorer: mov $15, %eax\n\tsyscall\n"
	".size sample_restorer, . - sample_restorer\n");

static void on_sample(int signal, void *info, const u8 *context)
{
	const struct sampler *own = &samplers[signal];
	const u64 *gregs = (const u64 *)(context + GREGS);
	u64 thunk = __atomic_load_n(&own->thunk, __ATOMIC_ACQUIRE);
	struct sample sample = { .period = own->period, .address = own->address };

	(void)info;
	if (!thunk)
		return;
	for (u32 i = 0; i < REGISTERS; i++)
		sample.registers[i] = places[i] < 0 ? 0 : gregs[(u32)places[i]];
	sample.registers[15] = ~0ULL; // orig_rax
	sample.registers[17] = 0x33; // cs
	sample.registers[20] = 0x2b; // ss
	((void (*)(struct sample *))thunk)(&sample);
}

static int is_free(s32 signal)
{
	struct action now = { 0 };

	return !samplers[signal].signal && !sys(SYS_SIGACTION, signal, 0, &now, 8) && !now.handler;
}

static s32 find_signal(int is_timed)
{
	static const s32 ordinary[] = { STKFLT, PWR, IO };

	for (s32 signal = FIRST_RT; is_timed && signal >= LAST_RT; signal--)
		if (is_free(signal))
			return signal;
	for (u32 i = 0; !is_timed && i < sizeof(ordinary) / sizeof(ordinary[0]); i++)
		if (is_free(ordinary[i]))
			return ordinary[i];
	return 0;
}

static s64 start_timer(struct sampler *own, u64 every)
{
	struct event event = { .value = 0, .signal = own->signal, .notify = 0 };
	s64 often[4] = { (s64)(every / 1000000000), (s64)(every % 1000000000), (s64)(every / 1000000000), (s64)(every % 1000000000) };
	s64 err = sys(SYS_TIMER_CREATE, PROCESS_CPUTIME, &event, &own->timer);

	return err ? err : sys(SYS_TIMER_SETTIME, own->timer, 0, often, 0);
}

static void stop(struct sampler *own)
{
	struct action ignore = { .handler = SIG_IGNORED }, usual = { 0 };

	if (!own->signal)
		return;
	if (own->timer >= 0)
		sys(SYS_TIMER_DELETE, own->timer);
	__atomic_store_n(&own->thunk, 0, __ATOMIC_RELEASE);
	sys(SYS_SIGACTION, own->signal, &ignore, 0, 8); // what is pending goes: its default would end the program
	sys(SYS_SIGACTION, own->signal, &usual, 0, 8);
	own->signal = 0;
}

// Returns the signal, or -errno: -EBUSY where the program leaves none to us.
s64 sample_start(const struct sample_request *want)
{
	struct action action = { .handler = (u64)on_sample, .flags = SA_SIGINFO | SA_ONSTACK | SA_RESTORER | SA_RESTART,
				 .restorer = (u64)sample_restorer };
	s32 signal = find_signal(want->every != 0);
	struct sampler *own = &samplers[signal];
	s64 err;

	if (!signal)
		return -E_BUSY;
	*own = (struct sampler){ .thunk = want->thunk, .period = want->period, .address = want->address, .timer = -1, .signal = signal };
	copy_bytes(own->session, want->session, 16);
	err = sys(SYS_SIGACTION, signal, &action, 0, 8);
	if (!err && want->every)
		err = start_timer(own, want->every);
	if (err) {
		stop(own);
		return err;
	}
	agent.state->flags |= STATE_SAMPLES;
	return signal;
}

// Stop those of a session; of all where `session` is null.
void sample_stop(const u8 *session)
{
	int left = 0;

	for (u32 i = 0; i < SIGNALS; i++) {
		if (samplers[i].signal && (!session || same_bytes(samplers[i].session, session, 16)))
			stop(&samplers[i]);
		left |= samplers[i].signal;
	}
	if (!left)
		agent.state->flags &= ~(u32)STATE_SAMPLES;
}
