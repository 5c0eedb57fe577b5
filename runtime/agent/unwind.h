// Unwind tables: what the tracer writes (runtime/unwind/table.py) and what a walk through a stack reads.
#pragma once
#include "agent.h"

enum cfa_kind { CFA_END = 0, CFA_RSP = 1, CFA_RBP = 2, CFA_PLT = 3, CFA_STOP = 4, CFA_SIGNAL = 5, CFA_RBP_DEREF = 6 };
enum rbp_kind { RBP_SAME = 0, RBP_CFA = 1, RBP_STOP = 2, RBP_AT_RBP = 3 };

// How to leave one range of instructions. `cfa`: offset from rsp, from rbp, or of the word at rbp + offset.
struct unwind_rule {
	u8 cfa_kind, rbp_kind;
	short rbp;
	s32 cfa;
};
_Static_assert(sizeof(struct unwind_rule) == 8, "rule");

// One module's table: this head, then u32 first[pages + 1] (row of each 4-KiB page), u32 pc[rows] (sorted addresses
// of the file), u16 rule[rows], struct unwind_rule rules[]. All parts are padded to 8 bytes.
struct unwind_table {
	u32 rows, rules, page, pages; // `page`: the number of the first one
};

// The modules of one process, sorted; a copy is filled, then `entries` is set to it. Offsets are from the region's
// start, which lies `self` before the directory.
struct unwind_directory {
	u64 self, entries, region_bytes;
	u32 count, spare;
};

enum unwind_module_kind { MODULE_TABLE = 0, MODULE_THUNKS = 1 };

struct unwind_module {
	u64 start, end, bias, table;
	u32 bytes, kind;
};

enum { WINDOW = 64 }; // words of the stack that are read at once where each read is a system call

struct unwind_point {
	u64 pc, rsp, rbp;
	u64 window; // address of `words`, 0 when nothing was read yet
	u64 words[WINDOW];
};

// A word of the stack, 0 where it cannot be read.
HELPER u64 unwind_load(struct unwind_point *at, u64 address);

// What a step led to: a caller, the end of the stack, no table that says how, a frame of ours that is not to be shown,
// or the place that a signal interrupted, which is no return address.
enum unwind_result { STEP_UNKNOWN = -1, STEP_END = 0, STEP_CALL = 1, STEP_OURS = 2, STEP_SIGNAL = 3 };

// Go from one frame to its caller; `is_return`: pc is a return address.
HELPER s32 unwind_step(const struct unwind_directory *directory, struct unwind_point *at, int is_return);
// Whether a return address is one of our thunks'.
HELPER int unwind_is_ours(const struct unwind_directory *directory, u64 pc);
