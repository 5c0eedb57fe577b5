// Signal handlers of ours: what the application had installed sees every signal that is not for us.
#pragma once
#include "agent.h"

typedef void (*info_handler)(int signal, void *info, void *context);

struct action { // the kernel's struct sigaction
	u64 handler, flags, restorer, mask;
};

struct taken {
	int number;
	u32 repeats; // the instruction that caused it is run again when the handler returns
	info_handler ours;
	u64 restorer; // how the handler returns, 0: by ours
	struct action before;
};

enum { UCONTEXT_GREGS = 40, REG_R8 = 0, REG_R9, REG_R10, REG_RDI = 8, REG_RSI, REG_RDX = 12, REG_RAX, REG_RIP = 16 };

static inline u64 *context_register(void *context, u32 number) // ucontext_t, gregs[number]
{
	return (u64 *)((u8 *)context + UCONTEXT_GREGS) + number;
}

void signal_take(struct taken *taken);
void signal_give_back(struct taken *taken);
void signal_chain(struct taken *taken, void *info, void *context);
