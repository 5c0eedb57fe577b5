// Loads that may fault: each has a row that says where to go on, found by the signal handler.
#pragma once
#include "agent.h"

struct fault_row {
	s32 at, fixup; // distances from the fields themselves
};

#define FAULT_ROW                                                                                                  \
	".pushsection fault_rows,\"a\",@progbits\n\t.balign 4\n\t.long 1b - .\n\t.long %l[faulted] - .\n\t.popsection\n"

// value = *(type *)from, or jump to the label `faulted`.
#define LOAD_OR_FAULT(value, from, instruction)                                                                    \
	__asm__ goto("1: " instruction "\n\t" FAULT_ROW : "=r"(value) : "r"(from) : "memory" : faulted)
// *(type *)to = value, or jump to `faulted`.
#define STORE_OR_FAULT(value, to, instruction)                                                                     \
	__asm__ goto("1: " instruction "\n\t" FAULT_ROW : : "r"(value), "r"(to) : "memory" : faulted)
