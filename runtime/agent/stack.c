// Call stacks by frame pointers: each word is read safely, the walk only goes towards the stack's start.
#include "map.h"

enum { SKIP_MASK = 0xff, USER_STACK = 0x100, BUILD_IDS = 0x800, FAR = 1 << 20 };

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
