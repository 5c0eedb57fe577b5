// The SIGSEGV and SIGBUS handler for guarded loads. Every other fault goes where it went before, unchanged.
#include "fault.h"

enum { SIGBUS_ = 7, SIGSEGV_ = 11, SA_SIGINFO_ = 4, SA_ONSTACK_ = 0x08000000, SA_RESTORER_ = 0x04000000 };
enum { SA_NODEFER_ = 0x40000000, SIGNALS = 2 };
#define SA_RESETHAND_ 0x80000000u
enum { UCONTEXT_RIP = 40 + 16 * 8 }; // offset of gregs[REG_RIP] in ucontext_t

typedef void (*plain_handler)(int signal);
typedef void (*info_handler)(int signal, void *info, void *context);

struct action { // the kernel's struct sigaction
	u64 handler, flags, restorer, mask;
};

extern const struct fault_row __start_fault_rows[] __attribute__((visibility("hidden")));
extern const struct fault_row __stop_fault_rows[] __attribute__((visibility("hidden")));

static const int signals[SIGNALS] = { SIGSEGV_, SIGBUS_ };
static struct action before[SIGNALS];

void restorer(void);
__asm__(".text\n.type restorer, @function\nrestorer: mov $15, %eax\n\tsyscall\n.size restorer, . - restorer\n");

static u64 fixup_of(u64 ip)
{
	for (const struct fault_row *row = __start_fault_rows; row < __stop_fault_rows; row++)
		if ((u64)&row->at + (u64)(s64)row->at == ip)
			return (u64)&row->fixup + (u64)(s64)row->fixup;
	return 0;
}

static void set_action(int signal, const struct action *action)
{
	sys(SYS_SIGACTION, signal, action, 0, 8);
}

// What the application had installed sees the signal as if we were not here; our mask is already its mask.
static void chain(int signal, void *info, void *context)
{
	struct action *old = &before[signal == SIGBUS_];
	u64 handler = old->handler;

	if (handler <= 1) { // default or ignore: the fault happens again, without us
		struct action none = { .restorer = (u64)restorer, .flags = SA_RESTORER_ };

		set_action(signal, &none);
		return;
	}
	if (old->flags & SA_RESETHAND_)
		old->handler = 0;
	if (old->flags & SA_SIGINFO_)
		((info_handler)handler)(signal, info, context);
	else
		((plain_handler)handler)(signal);
}

static void on_fault(int signal, void *info, void *context)
{
	u64 *ip = (u64 *)((u8 *)context + UCONTEXT_RIP);
	u64 fixup = fixup_of(*ip);

	if (fixup)
		*ip = fixup;
	else
		chain(signal, info, context);
}

static void install(u32 i)
{
	struct action ours = { .handler = (u64)on_fault, .restorer = (u64)restorer };
	struct action now = { 0 };

	sys(SYS_SIGACTION, signals[i], 0, &now, 8);
	if (now.handler == (u64)on_fault)
		return;
	before[i] = now;
	ours.mask = before[i].mask;
	ours.flags = SA_SIGINFO_ | SA_RESTORER_;
	if (before[i].handler <= 1)
		ours.flags |= SA_NODEFER_ | SA_ONSTACK_;
	else
		ours.flags |= before[i].flags & (SA_ONSTACK_ | SA_NODEFER_);
	set_action(signals[i], &ours);
}

int fault_handler(int on)
{
	for (u32 i = 0; i < SIGNALS; i++) {
		struct action now = { 0 };

		if (on) {
			install(i);
			continue;
		}
		sys(SYS_SIGACTION, signals[i], 0, &now, 8);
		if (now.handler == (u64)on_fault) // else the application has replaced ours meanwhile
			set_action(signals[i], &before[i]);
	}
	agent.reads_by_fault = on != 0;
	return 0;
}
