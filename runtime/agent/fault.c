// The SIGSEGV and SIGBUS handler for guarded loads. Every other fault goes where it went before, unchanged.
#include "fault.h"
#include "signals.h"

enum { SIGBUS_ = 7, SIGSEGV_ = 11 };

extern const struct fault_row __start_fault_rows[] __attribute__((visibility("hidden")));
extern const struct fault_row __stop_fault_rows[] __attribute__((visibility("hidden")));

static void on_fault(int signal, void *info, void *context);
static struct taken faults[2] = {
	{ .number = SIGSEGV_, .repeats = 1, .ours = on_fault },
	{ .number = SIGBUS_, .repeats = 1, .ours = on_fault },
};

static u64 fixup_of(u64 ip)
{
	for (const struct fault_row *row = __start_fault_rows; row < __stop_fault_rows; row++)
		if ((u64)&row->at + (u64)(s64)row->at == ip)
			return (u64)&row->fixup + (u64)(s64)row->fixup;
	return 0;
}

static void on_fault(int signal, void *info, void *context)
{
	u64 *ip = context_register(context, REG_RIP);
	u64 fixup = fixup_of(*ip);

	if (fixup)
		*ip = fixup;
	else
		signal_chain(&faults[signal == SIGBUS_], info, context);
}

int fault_handler(int on)
{
	for (u32 i = 0; i < 2; i++) {
		if (on)
			signal_take(&faults[i]);
		else
			signal_give_back(&faults[i]);
	}
	agent.reads_by_fault = on != 0;
	return 0;
}
