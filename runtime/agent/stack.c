// Call stacks by frame pointers: each word is read safely, the walk only goes towards the stack's start.
#include "map.h"

enum { SKIP_MASK = 0xff, USER_STACK = 0x100, BUILD_IDS = 0x800, FAR = 1 << 20 };
enum { FAST_COMPARE = 0x200, REUSE_ID = 0x400, MAX_DEPTH = 127 };

HELPER u64 load_8(const void *from);

// Addresses from `ip` outwards into `to`; `top`: where the return address is if the frame is not set up yet, or 0.
// Returns bytes written.
HELPER s64 stack_walk(u64 *to, u64 bytes, u64 flags, u64 ip, u64 frame, const void *top)
{
	u64 room = (u32)bytes / 8, skip = flags & SKIP_MASK, used = 0, next = ip;

	zero_bytes(to, (u32)bytes);
	if (!(flags & USER_STACK))
		return -E_FAULT;
	if (flags & BUILD_IDS)
		return -E_NOTSUP;
	for (u64 step = 0; next && used < room; step++) {
		u64 outer;

		if (step >= skip)
			to[used++] = next;
		if (!step && top) {
			next = load_8(top);
			continue;
		}
		if (!frame || frame & 7)
			break;
		next = load_8((void *)(frame + 8));
		outer = load_8((void *)frame);
		if (outer <= frame || outer - frame > FAR)
			frame = 0;
		else
			frame = outer;
	}
	return (s64)(used * 8);
}

struct kept_stack {
	u32 hash, depth;
	u64 ip[];
};

// Number of the slot that holds this stack. Another stack in it: -EEXIST, or replaced with REUSE_STACKID.
HELPER s64 stack_id(struct map *map, u64 flags, u64 ip, u64 frame, const void *top)
{
	u64 found[MAX_DEPTH];
	s64 bytes = stack_walk(found, map->value_size, flags & ~(u64)(FAST_COMPARE | REUSE_ID), ip, frame, top);
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
