// System calls of code that is made at run time: the kernel hands them over (Syscall User Dispatch), nothing is rewritten.
//
// Where such code lies and when it changes nobody knows, so all calls are handed over but those from one range, the C
// library's code. The handler of SIGSYS makes the call in the program's stead; one from an unknown place at a place of
// ours that can be probed like any other. About a microsecond for each; +4 ns for every call from the range.
// A byte of each thread says whether its calls are handed over: not while its handler makes one.
// Source: Documentation/admin-guide/syscall-user-dispatch.rst; the address that is compared is the one behind the call.
#include "signals.h"

enum { SIGSYS_ = 31, SI_CODE = 2, USER_DISPATCH = 2, DISPATCH = 59, ON = 1, TRIES = 64 };
enum { SIGPROCMASK = 14, SIGRETURN = 15, CLONE = 56, VFORK = 58, SIGALTSTACK = 131, CLONE3 = 435 };
enum { UC_STACK = 16, UC_MASK = 296, STACK_BYTES = 24 }; // of struct ucontext

static void on_dispatch(int signal, void *info, void *context);
static struct taken calls = { .number = SIGSYS_, .ours = on_dispatch };
static struct dispatch_request request;
static struct dispatch_row rows[DISPATCH_ROWS];

static struct hooks *hooks(void)
{
	return (void *)((u8 *)agent.state + STATE_HOOKS);
}

// The row of the calling thread, found without a system call; 0 when all near its own are taken. Threads that end leave
// theirs to those that get their memory.
static struct dispatch_row *own_row(void)
{
	u64 thread = fs_base();
	u32 start = (u32)(thread >> 6) * 0x9e3779b1u >> 20;

	for (u32 i = 0; i < TRIES; i++) {
		struct dispatch_row *row = &rows[(start + i) % DISPATCH_ROWS];
		u64 owner = __atomic_load_n(&row->thread, __ATOMIC_RELAXED);

		if (owner == thread)
			return row;
		if (!owner && __atomic_compare_exchange_n(&row->thread, &owner, thread, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return row;
	}
	return 0;
}

// Makes the call that a context's registers hold: here it can be traced, by a jump over the instruction before and one
// over the instruction behind.
s64 dispatched_call(const u64 *registers);
__asm__(".text\n.type dispatched_call, @function\ndispatched_call:\n"
	"\tmov (%rdi), %r8\n\tmov 8(%rdi), %r9\n\tmov 16(%rdi), %r10\n\tmov 72(%rdi), %rsi\n\tmov 96(%rdi), %rdx\n"
	"\tmov 104(%rdi), %rax\n\tmov 64(%rdi), %rdi\n"
	"\t.byte 0x0f, 0x1f, 0x80, 0, 0, 0, 0\n\tsyscall\n\t.byte 0x0f, 0x1f, 0x80, 0, 0, 0, 0\n\tret\n"
	".size dispatched_call, . - dispatched_call\n");

// Whether calls from a place are rewritten there, so that nothing is to be shown of them here.
static int is_known(u64 at)
{
	for (u32 i = 0; i < DISPATCH_RANGES; i++)
		if (at > request.ranges[2 * i] && at <= request.ranges[2 * i + 1])
			return 1;
	return 0;
}

// Whether a call's place must be its own: another thread starts behind it, or the kernel looks at the stack.
static int is_bound(const u64 *registers)
{
	u64 number = registers[REG_RAX];

	return number == SIGRETURN || number == VFORK || number == CLONE3 || (number == CLONE && registers[REG_RSI]);
}

static s64 arm(struct dispatch_row *row)
{
	if (!row)
		return sys(SYS_PRCTL, DISPATCH, 0, 0, 0, 0);
	return sys(SYS_PRCTL, DISPATCH, ON, request.ranges[0], request.ranges[1] - request.ranges[0], &row->selector);
}

// What the kernel takes from the context when the handler returns, and the call has changed.
static void keep_effects(u64 number, const u64 *registers, void *context)
{
	if (number == SIGPROCMASK)
		sys(SYS_SIGPROCMASK, 0, 0, (u8 *)context + UC_MASK, 8);
	else if (number == SIGALTSTACK && registers[REG_RDI])
		copy_bytes((u8 *)context + UC_STACK, (void *)registers[REG_RDI], STACK_BYTES);
}

static void on_dispatch(int signal, void *info, void *context)
{
	u64 *registers = context_register(context, 0);
	u64 number = registers[REG_RAX];
	struct dispatch_row *row;
	s64 result;

	(void)signal;
	if (((s32 *)info)[SI_CODE] != USER_DISPATCH) {
		signal_chain(&calls, info, context);
		return;
	}
	row = own_row();
	if (row)
		row->selector = 0;
	if (!row || is_bound(registers)) { // made at its own place; this thread is not watched any more
		registers[REG_RIP] -= 2;
		return;
	}
	if (is_known(registers[REG_RIP]))
		result = sys6((s64)number, (s64)registers[REG_RDI], (s64)registers[REG_RSI], (s64)registers[REG_RDX],
			      (s64)registers[REG_R10], (s64)registers[REG_R8], (s64)registers[REG_R9]);
	else
		result = dispatched_call(registers);
	if (result >= 0)
		keep_effects(number, registers, context);
	registers[REG_RAX] = (u64)result;
	row->selector = !hooks()->paused;
}

// In each thread that is to be watched, and with `want->on` 0 in those that are not to be any more. A visit: paused.
s64 dispatch_calls(const struct dispatch_request *want)
{
	if (want->on) {
		request = *want;
		calls.restorer = want->restorer;
		signal_take(&calls);
		hooks()->rows = (u64)rows;
		hooks()->dispatches = hooks()->paused = 1;
		return arm(own_row());
	}
	for (u32 i = 0; i < DISPATCH_ROWS; i++)
		rows[i].selector = 0;
	if (hooks()->dispatches)
		signal_give_back(&calls);
	hooks()->dispatches = 0;
	return arm(0);
}

// In a thread or process that has just come to be: what is on in its creator is not in it.
HELPER s64 dispatch_anew(void)
{
	struct dispatch_row *row = own_row();
	s64 err;

	if (!hooks()->dispatches || !row)
		return 0;
	row->selector = 0;
	err = arm(row);
	row->selector = !hooks()->paused;
	return err;
}
