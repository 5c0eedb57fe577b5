// One step through a stack by the tables that the tracer has made from .eh_frame.
//
// The tables lie in shared memory: a program that goes wild may have written there. So each index is checked
// against the table's own size before it is used, and every word of the stack is read safely.
#include "unwind.h"

HELPER u64 load_8(const void *from);
HELPER s64 probe_read(void *to, u64 bytes, const void *from);
HELPER u64 swap_peek(u64 slot);

enum { PAGE_BITS = 12, FRAME_MARK = 0x801f0f, SIGNAL_RBP = 120, SIGNAL_RSP = 160, SIGNAL_RIP = 168 };

HELPER u64 unwind_load(struct unwind_point *at, u64 address)
{
	if (agent.reads_by_fault)
		return load_8((void *)address);
	if (!at->window || address - at->window > sizeof at->words - 8) {
		if (probe_read(at->words, sizeof at->words, (void *)address)) {
			at->window = 0;
			return load_8((void *)address); // less than a window is left
		}
		at->window = address;
	}
	return *(u64 *)((u8 *)at->words + (address - at->window));
}

static const struct unwind_module *find_module(const struct unwind_directory *dir, u64 pc)
{
	const u8 *region = (const u8 *)dir - dir->self;
	u64 at = __atomic_load_n(&dir->entries, __ATOMIC_ACQUIRE);
	const struct unwind_module *all = (const void *)(region + at);
	u32 low = 0, high = dir->count;

	if (at > dir->region_bytes || high > (dir->region_bytes - at) / sizeof *all)
		return 0;
	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (all[middle].end <= pc)
			low = middle + 1;
		else
			high = middle;
	}
	return low < dir->count && all[low].start <= pc && pc < all[low].end ? &all[low] : 0;
}

static inline u64 padded(u64 bytes)
{
	return (bytes + 7) & ~7ULL;
}

// The rule for an address of a module's file; 0 where the table is not sound or ends.
static const struct unwind_rule *find_rule(const struct unwind_table *table, u64 bytes, u64 address)
{
	u32 rows = table->rows, pages = table->pages;
	u64 page = (address >> PAGE_BITS) - table->page;
	u64 firsts = padded(4 * ((u64)pages + 1)), pcs = padded(4 * (u64)rows), kinds = padded(2 * (u64)rows);
	const u32 *first = (const u32 *)(table + 1);
	const u32 *pc = (const u32 *)((const u8 *)first + firsts);
	const u16 *rule = (const u16 *)((const u8 *)pc + pcs);
	u32 low, high;

	if (sizeof *table + firsts + pcs + kinds + (u64)table->rules * 8 > bytes || page >= pages)
		return 0;
	low = first[page];
	high = first[page + 1] + 1;
	if (high > rows)
		high = rows;
	while (low < high) { // the first row behind the address
		u32 middle = low + (high - low) / 2;

		if (pc[middle] <= (u32)address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || low > rows || rule[low - 1] >= table->rules)
		return 0;
	return (const struct unwind_rule *)((const u8 *)rule + kinds) + rule[low - 1];
}

static s32 step_by(const struct unwind_rule *rule, struct unwind_point *at)
{
	u64 cfa, rbp = at->rbp;

	switch (rule->cfa_kind) {
	case CFA_RSP:
		cfa = at->rsp + (u64)(s64)rule->cfa;
		break;
	case CFA_RBP:
		cfa = at->rbp + (u64)(s64)rule->cfa;
		break;
	case CFA_PLT:
		cfa = at->rsp + 8 + ((at->pc & 15) >= 11 ? 8 : 0);
		break;
	case CFA_RBP_DEREF:
		cfa = unwind_load(at, at->rbp + (u64)(s64)rule->cfa);
		break;
	case CFA_SIGNAL: // the saved registers of rt_sigreturn(2)'s ucontext
		at->pc = unwind_load(at, at->rsp + SIGNAL_RIP);
		at->rbp = unwind_load(at, at->rsp + SIGNAL_RBP);
		at->rsp = unwind_load(at, at->rsp + SIGNAL_RSP);
		return at->pc ? STEP_SIGNAL : STEP_END;
	case CFA_END:
		return STEP_END;
	default:
		return STEP_UNKNOWN;
	}
	if (rule->rbp_kind == RBP_CFA)
		rbp = unwind_load(at, cfa + (u64)(s64)rule->rbp);
	else if (rule->rbp_kind == RBP_AT_RBP)
		rbp = unwind_load(at, at->rbp + (u64)(s64)rule->rbp);
	else if (rule->rbp_kind == RBP_STOP)
		rbp = 0;
	if (cfa <= at->rsp && at->rsp)
		return STEP_END; // a stack only gets shorter
	at->pc = unwind_load(at, cfa - 8);
	at->rsp = cfa;
	at->rbp = rbp;
	return at->pc ? STEP_CALL : STEP_END;
}

// A replaced return address, or a call-through thunk: its frame lies between the body's and the caller's address. One
// word, or as many as the no-op behind the call says (`nop dword [rax + bytes]`, attachers/patch/thunk.py).
static s32 step_over_thunk(struct unwind_point *at)
{
	u64 address = swap_peek(at->rsp - 8), frame = 8, code;

	if (address) {
		at->pc = address;
		return STEP_OURS;
	}
	code = load_8((void *)at->pc);
	if ((code & 0xffffff) == FRAME_MARK)
		frame = (u32)(code >> 24);
	at->pc = unwind_load(at, at->rsp + frame);
	at->rsp += frame + 8;
	return at->pc ? STEP_OURS : STEP_END;
}

HELPER s32 unwind_step(const struct unwind_directory *directory, struct unwind_point *at, int is_return)
{
	u64 pc = at->pc - (u64)(is_return != 0);
	const struct unwind_module *module = find_module(directory, pc);
	const struct unwind_rule *rule;

	if (!module)
		return STEP_UNKNOWN;
	if (module->kind == MODULE_THUNKS)
		return step_over_thunk(at);
	if (module->table > directory->region_bytes || module->bytes > directory->region_bytes - module->table)
		return STEP_UNKNOWN;
	rule = find_rule((const void *)((const u8 *)directory - directory->self + module->table), module->bytes,
			 pc - module->bias);
	return rule ? step_by(rule, at) : STEP_UNKNOWN;
}

HELPER int unwind_is_ours(const struct unwind_directory *directory, u64 pc)
{
	const struct unwind_module *module = find_module(directory, pc - 1);

	return module && module->kind == MODULE_THUNKS;
}
