// Taking a signal that a program does not use, and giving it back; see signals.h.
#include "signals.h"

enum { SA_SIGINFO_ = 4, SA_ONSTACK_ = 0x08000000, SA_RESTORER_ = 0x04000000, SA_NODEFER_ = 0x40000000 };
#define SA_RESETHAND_ 0x80000000u

typedef void (*plain_handler)(int signal);

void restorer(void);
__asm__(".text\n.type restorer, @function\nrestorer: mov $15, %eax\n\tsyscall\n.size restorer, . - restorer\n");

// What the application had installed sees the signal as if we were not here; our mask is already its mask.
void signal_chain(struct taken *taken, void *info, void *context)
{
	u64 handler = taken->before.handler;

	if (handler <= 1) { // default or ignore: it happens again, without us
		struct action none = { .restorer = (u64)restorer, .flags = SA_RESTORER_ };

		sys(SYS_SIGACTION, taken->number, &none, 0, 8);
		if (!taken->repeats)
			sys(SYS_TGKILL, sys(SYS_GETPID), sys(SYS_GETTID), taken->number);
		return;
	}
	if (taken->before.flags & SA_RESETHAND_)
		taken->before.handler = 0;
	if (taken->before.flags & SA_SIGINFO_)
		((info_handler)handler)(taken->number, info, context);
	else
		((plain_handler)handler)(taken->number);
}

void signal_take(struct taken *taken)
{
	struct action ours = { .handler = (u64)taken->ours, .restorer = (u64)restorer };
	struct action now = { 0 };

	sys(SYS_SIGACTION, taken->number, 0, &now, 8);
	if (now.handler == ours.handler)
		return;
	taken->before = now;
	ours.mask = now.mask;
	ours.restorer = taken->restorer ? taken->restorer : (u64)restorer;
	ours.flags = SA_SIGINFO_ | SA_RESTORER_;
	if (now.handler <= 1)
		ours.flags |= SA_NODEFER_ | SA_ONSTACK_;
	else
		ours.flags |= now.flags & (SA_ONSTACK_ | SA_NODEFER_);
	sys(SYS_SIGACTION, taken->number, &ours, 0, 8);
}

void signal_give_back(struct taken *taken)
{
	struct action now = { 0 };

	sys(SYS_SIGACTION, taken->number, 0, &now, 8);
	if (now.handler == (u64)taken->ours) // else the application has replaced ours meanwhile
		sys(SYS_SIGACTION, taken->number, &taken->before, 0, 8);
}
