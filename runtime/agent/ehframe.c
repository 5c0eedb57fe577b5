// From .eh_frame to the rows of an unwind table. It runs in the tracer only, on files that nobody has checked:
// every byte is read through a cursor that stops at the end.
//
// Source: DWARF 4, 6.4 (call frame information); LSB, .eh_frame; System V ABI AMD64, 3.6.2 (register numbers).
#include "unwind.h"

enum { REG_RBP = 6, REG_RSP = 7, REG_RA = 16, STATES = 16, MAX_RULES = 65535, SLOTS = 1 << 17, MAX_OPS = 1 << 16 };
enum { OP_DEREF = 0x06, OP_BREG6 = 0x76 };
enum expression_use { FOR_CFA, FOR_REGISTER, FOR_VALUE };

struct cursor {
	const u8 *at, *end;
	int bad;
};

// What the tracer gives and gets. `fdes`: n × {s32 start, s32 address of the FDE}, relative to `base`, sorted by start.
// `slots`: SLOTS zeroed words for finding equal rules again.
struct unwind_input {
	u64 frame, bytes, address, base, fdes, n_fdes, pcs, kinds, max_rows, rules, slots, rows, n_rules;
};

struct row_state {
	u8 cfa_kind, rbp_kind;
	s64 cfa, rbp;
};

struct cie {
	u64 code_align;
	s64 data_align;
	u8 encoding, has_data, is_signal;
	struct cursor program;
};

struct work {
	struct unwind_input *in;
	const struct cie *cie;
	struct row_state now, initial, kept[STATES];
	u32 depth;
	u64 pc;
};

static u64 fixed(struct cursor *c, u32 bytes)
{
	u64 value = 0;

	if ((u64)(c->end - c->at) < bytes) {
		c->bad = 1;
		c->at = c->end;
		return 0;
	}
	for (u32 i = 0; i < bytes; i++)
		value |= (u64)*c->at++ << (8 * i);
	return value;
}

static u64 uleb(struct cursor *c)
{
	u64 value = 0, byte = 0x80;

	for (u32 shift = 0; byte & 0x80; shift += 7) {
		byte = fixed(c, 1);
		if (shift < 64)
			value |= (byte & 0x7f) << shift;
	}
	return value;
}

static s64 sleb(struct cursor *c)
{
	u64 value = 0, byte = 0x80;
	u32 shift = 0;

	for (; byte & 0x80; shift += 7) {
		byte = fixed(c, 1);
		if (shift < 64)
			value |= (byte & 0x7f) << shift;
	}
	if (shift < 64 && byte & 0x40)
		value |= ~0ULL << shift;
	return (s64)value;
}

static struct cursor cut(struct cursor *c, u64 bytes)
{
	struct cursor part = { c->at, c->end, 0 };

	if ((u64)(c->end - c->at) < bytes)
		c->bad = 1;
	else
		part.end = c->at + bytes;
	c->at = part.end;
	return part;
}

static u32 encoded_size(u8 encoding)
{
	switch (encoding & 7) {
	case 2:
		return 2;
	case 3:
		return 4;
	default:
		return 8;
	}
}

// The entry at an address of the file: its contents behind the length.
static int enter(const struct unwind_input *in, u64 address, struct cursor *c)
{
	u64 length;

	if (address < in->address || address - in->address + 8 > in->bytes)
		return 0;
	c->at = (const u8 *)in->frame + (address - in->address);
	c->end = (const u8 *)in->frame + in->bytes;
	c->bad = 0;
	length = fixed(c, 4);
	if (length == 0xffffffff)
		length = fixed(c, 8);
	if (!length)
		return 0;
	*c = cut(c, length);
	return 1;
}

static int read_cie(const struct unwind_input *in, u64 address, struct cie *cie)
{
	struct cursor c;
	const u8 *letters;
	u64 version;

	*cie = (struct cie){ .encoding = 0 };
	if (!enter(in, address, &c) || fixed(&c, 4) != 0)
		return 0;
	version = fixed(&c, 1);
	letters = c.at;
	while (fixed(&c, 1))
		;
	if (c.bad)
		return 0;
	if (version == 4)
		fixed(&c, 2); // sizes of an address and of a segment selector
	cie->code_align = uleb(&c);
	cie->data_align = sleb(&c);
	if (version == 1)
		fixed(&c, 1);
	else
		uleb(&c);
	if (*letters == 'z') {
		u64 bytes = uleb(&c);
		struct cursor data = cut(&c, bytes);

		cie->has_data = 1;
		while (*++letters) {
			if (*letters == 'R')
				cie->encoding = (u8)fixed(&data, 1);
			else if (*letters == 'S')
				cie->is_signal = 1;
			else if (*letters == 'L')
				fixed(&data, 1);
			else if (*letters == 'P')
				fixed(&data, encoded_size((u8)fixed(&data, 1)));
			else if (*letters != 'B')
				break;
		}
	}
	cie->program = c;
	return !c.bad;
}

static u32 rule_index(struct unwind_input *in, struct unwind_rule rule)
{
	struct unwind_rule *rules = (struct unwind_rule *)in->rules;
	u32 *slots = (u32 *)in->slots;
	u64 key = *(u64 *)&rule * 0x9e3779b97f4a7c15ULL;

	for (u32 i = 0; i < SLOTS; i++) {
		u32 *slot = &slots[((key >> 40) + i) % SLOTS];

		if (!*slot) {
			if (in->n_rules == MAX_RULES)
				return 0; // rule 0 says: not known
			rules[in->n_rules] = rule;
			*slot = (u32)++in->n_rules;
			return *slot - 1;
		}
		if (*(u64 *)&rules[*slot - 1] == *(u64 *)&rule)
			return *slot - 1;
	}
	return 0;
}

static void put_row(struct unwind_input *in, u64 pc, struct unwind_rule rule)
{
	u32 *pcs = (u32 *)in->pcs;
	u16 *kinds = (u16 *)in->kinds;
	u16 index = (u16)rule_index(in, rule);

	if (pc >> 32)
		return;
	if (in->rows && pcs[in->rows - 1] == (u32)pc)
		in->rows--;
	else if (in->rows && pcs[in->rows - 1] > (u32)pc)
		return; // entries that overlap: the first one counts
	if ((in->rows && kinds[in->rows - 1] == index) || in->rows == in->max_rows)
		return;
	pcs[in->rows] = (u32)pc;
	kinds[in->rows++] = index;
}

static void put_state(struct work *w)
{
	struct unwind_rule rule = { w->now.cfa_kind, w->now.rbp_kind, 0, 0 };

	if (w->cie->is_signal)
		rule.cfa_kind = CFA_SIGNAL;
	if (w->now.cfa < -0x80000000LL || w->now.cfa > 0x7fffffff)
		rule.cfa_kind = CFA_STOP;
	if (w->now.rbp < -32768 || w->now.rbp > 32767)
		rule.rbp_kind = RBP_STOP;
	if (rule.cfa_kind == CFA_RSP || rule.cfa_kind == CFA_RBP || rule.cfa_kind == CFA_RBP_DEREF)
		rule.cfa = (s32)w->now.cfa;
	if (rule.cfa_kind == CFA_END || rule.cfa_kind == CFA_STOP || rule.cfa_kind == CFA_SIGNAL)
		rule.rbp_kind = 0;
	if (rule.rbp_kind == RBP_CFA || rule.rbp_kind == RBP_AT_RBP)
		rule.rbp = (short)w->now.rbp;
	put_row(w->in, w->pc, rule);
}

static void set_cfa(struct work *w, u64 reg, s64 offset)
{
	w->now.cfa_kind = reg == REG_RSP ? CFA_RSP : reg == REG_RBP ? CFA_RBP : CFA_STOP;
	w->now.cfa = offset;
}

static void set_register(struct work *w, u64 reg, u8 kind, s64 offset)
{
	if (reg == REG_RBP) {
		w->now.rbp_kind = kind;
		w->now.rbp = offset;
	} else if (reg == REG_RA && (kind != RBP_CFA || offset != -8)) {
		w->now.cfa_kind = kind == RBP_STOP ? CFA_END : CFA_STOP; // undefined: the outermost frame
	}
}

// Two forms are known: where a procedure linkage table stands, and what is saved by a function that realigns its stack.
static void set_expression(struct work *w, struct cursor e, enum expression_use use, u64 reg)
{
	static const u8 PLT[] = { 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22 };
	u64 size = (u64)(e.end - e.at);
	s64 offset;

	if (use == FOR_CFA && size == sizeof PLT && same_bytes(e.at, PLT, sizeof PLT)) {
		w->now.cfa_kind = CFA_PLT;
		return;
	}
	if (fixed(&e, 1) == OP_BREG6) {
		offset = sleb(&e);
		if (use == FOR_CFA && fixed(&e, 1) == OP_DEREF && e.at == e.end && !e.bad) {
			w->now.cfa_kind = CFA_RBP_DEREF;
			w->now.cfa = offset;
			return;
		}
		if (use == FOR_REGISTER && e.at == e.end && !e.bad) {
			set_register(w, reg, RBP_AT_RBP, offset);
			return;
		}
	}
	if (use == FOR_CFA)
		w->now.cfa_kind = CFA_STOP;
	else
		set_register(w, reg, RBP_STOP, 0);
}

static void advance(struct work *w, u64 by)
{
	put_state(w);
	w->pc += by * w->cie->code_align;
}

static void restore(struct work *w, u64 reg)
{
	if (reg == REG_RBP) {
		w->now.rbp_kind = w->initial.rbp_kind;
		w->now.rbp = w->initial.rbp;
	}
}

// Instructions that say where the frame's end lies. 1 when it was one of them.
static int cfa_op(struct work *w, struct cursor *c, u8 op)
{
	u64 value;

	switch (op) {
	case 0x0c: // def_cfa
		value = uleb(c);
		set_cfa(w, value, (s64)uleb(c));
		return 1;
	case 0x0d: // def_cfa_register
		set_cfa(w, uleb(c), w->now.cfa);
		return 1;
	case 0x0e: // def_cfa_offset
		w->now.cfa = (s64)uleb(c);
		return 1;
	case 0x0f: // def_cfa_expression
		value = uleb(c);
		set_expression(w, cut(c, value), FOR_CFA, 0);
		return 1;
	case 0x12: // def_cfa_sf
		value = uleb(c);
		set_cfa(w, value, sleb(c) * w->cie->data_align);
		return 1;
	case 0x13: // def_cfa_offset_sf
		w->now.cfa = sleb(c) * w->cie->data_align;
		return 1;
	default:
		return 0;
	}
}

// Instructions that say where a register was saved. 1 when it was one of them.
static int register_op(struct work *w, struct cursor *c, u8 op)
{
	s64 align = w->cie->data_align;
	u64 reg, bytes;

	switch (op) {
	case 0x05: case 0x2f: // offset_extended, GNU_negative_offset_extended
		reg = uleb(c);
		set_register(w, reg, RBP_CFA, (s64)uleb(c) * (op == 0x2f ? -align : align));
		return 1;
	case 0x11: // offset_extended_sf
		reg = uleb(c);
		set_register(w, reg, RBP_CFA, sleb(c) * align);
		return 1;
	case 0x06: // restore_extended
		restore(w, uleb(c));
		return 1;
	case 0x08: // same_value
		set_register(w, uleb(c), RBP_SAME, 0);
		return 1;
	case 0x07: // undefined
		set_register(w, uleb(c), RBP_STOP, 0);
		return 1;
	case 0x09: case 0x14: case 0x15: // register, val_offset, val_offset_sf
		reg = uleb(c);
		uleb(c);
		set_register(w, reg, RBP_STOP, 0);
		return 1;
	case 0x10: case 0x16: // expression, val_expression
		reg = uleb(c);
		bytes = uleb(c);
		set_expression(w, cut(c, bytes), op == 0x10 ? FOR_REGISTER : FOR_VALUE, reg);
		return 1;
	default:
		return 0;
	}
}

// One instruction that is not one of the three short forms.
static void extended(struct work *w, struct cursor *c, u8 op)
{
	switch (op) {
	case 0x00: // nop
		break;
	case 0x02: case 0x03: case 0x04: // advance_loc1, 2, 4
		advance(w, fixed(c, 1U << (op - 2)));
		break;
	case 0x0a: // remember_state
		if (w->depth < STATES)
			w->kept[w->depth] = w->now;
		w->depth++;
		break;
	case 0x0b: // restore_state
		if (!w->depth || --w->depth >= STATES)
			c->bad = 1;
		else
			w->now = w->kept[w->depth];
		break;
	case 0x2e: // GNU_args_size
		uleb(c);
		break;
	default: // set_loc too: only hand-made code has it
		if (!cfa_op(w, c, op) && !register_op(w, c, op))
			c->bad = 1;
	}
}

static int run(struct work *w, struct cursor program)
{
	for (u32 n = 0; program.at < program.end && !program.bad && n < MAX_OPS; n++) {
		u8 op = (u8)fixed(&program, 1);

		if (op >> 6 == 1)
			advance(w, op & 63);
		else if (op >> 6 == 2)
			set_register(w, op & 63, RBP_CFA, (s64)uleb(&program) * w->cie->data_align);
		else if (op >> 6 == 3)
			restore(w, op & 63);
		else
			extended(w, &program, op);
	}
	return !program.bad;
}

static void read_fde(struct unwind_input *in, u64 start, u64 address)
{
	static const struct unwind_rule UNKNOWN = { CFA_STOP, 0, 0, 0 };
	struct cursor c;
	struct cie cie;
	struct work w = { .in = in, .cie = &cie, .pc = start };
	u64 back, here, length;

	if (!enter(in, address, &c))
		return;
	here = (u64)(c.at - (const u8 *)in->frame) + in->address;
	back = fixed(&c, 4);
	if (!back || c.bad || !read_cie(in, here - back, &cie))
		return;
	fixed(&c, encoded_size(cie.encoding));
	length = fixed(&c, encoded_size(cie.encoding));
	if (cie.has_data)
		cut(&c, uleb(&c));
	if (c.bad || !length || length >> 32)
		return;
	if (run(&w, cie.program)) {
		w.initial = w.now;
		if (!run(&w, c))
			w.now.cfa_kind = CFA_STOP;
		put_state(&w);
	}
	put_row(in, start + length, UNKNOWN);
}

// Returns the number of rows; `in->n_rules` says how many rules there are.
s64 unwind_build(struct unwind_input *in)
{
	const s32 *fdes = (const s32 *)in->fdes;
	struct unwind_rule unknown = { CFA_STOP, 0, 0, 0 };

	in->rows = in->n_rules = 0;
	rule_index(in, unknown);
	for (u64 i = 0; i < in->n_fdes; i++)
		read_fde(in, in->base + (u64)(s64)fdes[2 * i], in->base + (u64)(s64)fdes[2 * i + 1]);
	return (s64)in->rows;
}
