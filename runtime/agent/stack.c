// Call stacks: by unwind tables where the tracer has made them, by frame pointers elsewhere (compiled at run time).
#include "map.h"
#include "unwind.h"

enum { SKIP_MASK = 0xff, USER_STACK = 0x100, BUILD_IDS = 0x800, FAR = 1 << 20 };
enum { FAST_COMPARE = 0x200, REUSE_ID = 0x400, MAX_DEPTH = 127, MOST_OURS = 64 };
// Of the high half of `how`, beside the program's own flags: the first address is no return address.
#define AT_CODE 0x80000000u

// Where no table helps: at a function's first instruction the return address lies on top, else rbp leads on.
static s32 step_blindly(struct unwind_point *at, int at_entry)
{
	u64 frame = at->rbp, outer;

	if (at_entry) {
		at->pc = unwind_load(at, at->rsp);
		at->rsp += 8;
		return at->pc ? STEP_CALL : STEP_END;
	}
	if (!frame || frame & 7)
		return STEP_END;
	at->pc = unwind_load(at, frame + 8);
	outer = unwind_load(at, frame);
	at->rsp = frame + 16;
	at->rbp = outer > frame && outer - frame < FAR ? outer : 0;
	return at->pc ? STEP_CALL : STEP_END;
}

static s32 step(const struct unwind_directory *directory, struct unwind_point *at, int is_return, int at_entry)
{
	for (u32 ours = 0; ours < MOST_OURS; ours++) {
		s32 result = directory ? unwind_step(directory, at, is_return) : STEP_UNKNOWN;

		if (result == STEP_UNKNOWN)
			result = step_blindly(at, at_entry);
		if (result == STEP_END || result == STEP_SIGNAL)
			return result;
		if (!directory || !unwind_is_ours(directory, at->pc))
			return STEP_CALL;
		is_return = 1;
		at_entry = 0;
	}
	return STEP_END;
}

// Addresses from the point outwards into `to`. `how`: u32 bytes, u32 flags. Returns bytes written.
HELPER s64 stack_walk(u64 *to, u64 how, u64 ip, u64 rbp, u64 rsp, const struct unwind_directory *directory)
{
	u64 room = (u32)how / 8, used = 0;
	u32 flags = (u32)(how >> 32), skip = flags & SKIP_MASK;
	struct unwind_point at;
	int at_code = (flags & AT_CODE) != 0;

	at.pc = ip;
	at.rsp = rsp;
	at.rbp = rbp;
	at.window = 0;
	zero_bytes(to, (u32)how);
	if (!(flags & USER_STACK))
		return -E_FAULT;
	if (flags & BUILD_IDS)
		return -E_NOTSUP;
	for (u64 number = 0; used < room && at.pc; number++) {
		s32 result;

		if (number >= skip)
			to[used++] = at.pc;
		result = step(directory, &at, !at_code, at_code && !number);
		if (result == STEP_END)
			break;
		at_code = result == STEP_SIGNAL;
	}
	return (s64)(used * 8);
}

struct kept_stack {
	u32 hash, depth;
	u64 ip[];
};

// Number of the slot that holds this stack. Another stack in it: -EEXIST, or replaced with REUSE_STACKID.
HELPER s64 stack_id(struct map *map, u64 flags, u64 ip, u64 rbp, u64 rsp, const struct unwind_directory *directory)
{
	u64 found[MAX_DEPTH];
	u64 how = map->value_size | (flags & ~(u64)(FAST_COMPARE | REUSE_ID)) << 32;
	s64 bytes = stack_walk(found, how, ip, rbp, rsp, directory);
	struct kept_stack *kept;
	u64 sum = 0;
	u32 slot;

	if (bytes <= 0)
		return bytes ? bytes : -E_FAULT;
	for (s64 i = 0; i < bytes / 8; i++)
		__asm__("crc32q %1, %0" : "+r"(sum) : "rm"(found[i]));
	slot = ((u32)sum * 0x9e3779b1u >> 8) & map->mask;
	kept = (struct kept_stack *)(map_region(map) + map->data + (u64)slot * map->stride);
	if (kept->depth) {
		int same = kept->hash == (u32)sum && kept->depth == (u32)(bytes / 8);

		if (same && !(flags & FAST_COMPARE))
			same = same_bytes(kept->ip, found, (u64)bytes);
		if (same)
			return slot;
		if (!(flags & REUSE_ID))
			return -E_EXIST;
	}
	copy_words(kept->ip, found, map->value_size);
	kept->hash = (u32)sum;
	__atomic_store_n(&kept->depth, (u32)(bytes / 8), __ATOMIC_RELEASE);
	return slot;
}
