// Frames: what the tracer asks and how it is answered. Each request is checked whole before any of it is done.
#include "agent.h"

struct bytes {
	const u8 *at;
	u64 left;
};

// Take `n` bytes off the front of the payload; 0 when there are not that many.
static const void *take(struct bytes *in, u64 n)
{
	const u8 *at = in->at;

	if (in->left < n)
		return 0;
	in->at += n;
	in->left -= n;
	return at;
}

struct answer {
	u8 *at;
	u64 used, room;
};

static void *give(struct answer *out, u64 n)
{
	u8 *at = out->at + out->used;

	if (out->room - out->used < n)
		return 0;
	out->used += n;
	return at;
}

static s32 give_u64(struct answer *out, u64 value)
{
	u64 *at = give(out, 8);

	if (!at)
		return -E_NOSPC;
	copy_bytes(at, &value, 8);
	return 0;
}

// What only the tracer can find out; a `start` of all ones only asks. Reply: {u64 state, 128 bytes of it}.
struct hello {
	u32 abi;
	s32 rseq_offset;
	u64 start, landing, inbox, vdso;
};

static s32 do_hello(struct bytes *in, struct answer *out)
{
	const struct hello *hello = take(in, sizeof(*hello));
	struct state *state = agent.state;
	void *copy;

	if (!hello)
		return -E_INVAL;
	if (hello->abi != BPFTIME_ABI)
		return -E_PROTO;
	if (~hello->start) {
		state->start = hello->start;
		state->landing = hello->landing;
		state->inbox = hello->inbox;
		agent.rseq_offset = state->rseq_offset = hello->rseq_offset;
		if (!agent.tid_offset) // the agent came before the libc was ready
			agent.tid_offset = state->tid_offset = agent_find_tid_offset();
		clock_init(hello->vdso);
	}
	current_pid(); // what guards compare with is known before anything is placed
	if (give_u64(out, (u64)state))
		return -E_NOSPC;
	copy = give(out, sizeof(*state));
	if (!copy)
		return -E_NOSPC;
	copy_bytes(copy, state, sizeof(*state));
	return 0;
}

enum { MAP_REGION = 0, MAP_RING = 1, PAGE = 4096 };

// {u32 kind, u32 path bytes, u8 session[16], u64 offset, u64 bytes, path}: reply the address. A ring's two
// head pages are followed by its data twice, so that no record wraps. A path of "#N" is the open descriptor N.
struct map_request {
	u32 kind, path_bytes;
	u8 session[16];
	u64 offset, bytes;
};

static s64 open_path(const char *path, u64 bytes)
{
	char name[256];
	s64 fd = 0;

	if (!bytes || bytes >= sizeof(name))
		return -E_INVAL;
	copy_bytes(name, path, bytes);
	name[bytes] = 0;
	if (name[0] != '#')
		return sys(SYS_OPEN, name, 02 | 02000000);
	for (u64 i = 1; i < bytes; i++)
		fd = fd * 10 + (name[i] - '0');
	return fd;
}

static s64 map_ring(s64 fd, u64 offset, u64 bytes)
{
	u64 data = bytes - 2 * PAGE;
	s64 at = sys(SYS_MMAP, 0, bytes + data, 0, PRIVATE | ANONYMOUS | NORESERVE, -1, 0);
	s64 err;

	if (is_error(at))
		return at;
	err = sys(SYS_MMAP, at, bytes, PROT_R | PROT_W, SHARED | FIXED | NORESERVE, fd, offset);
	if (!is_error(err))
		err = sys(SYS_MMAP, (u64)at + bytes, data, PROT_R | PROT_W, SHARED | FIXED | NORESERVE, fd, offset + 2 * PAGE);
	if (!is_error(err))
		return at;
	sys(SYS_MUNMAP, at, bytes + data);
	return err;
}

static s64 map_shared(const struct map_request *map, s64 fd)
{
	s64 at;

	if (map->kind == MAP_RING)
		return map_ring(fd, map->offset, map->bytes);
	at = sys(SYS_MMAP, 0, map->bytes, PROT_R | PROT_W, SHARED | NORESERVE, fd, map->offset);
	if (is_error(at))
		return at;
	if (((struct region *)at)->magic == REGION_MAGIC && same_bytes(((struct region *)at)->id, map->session, 16))
		return at;
	sys(SYS_MUNMAP, at, map->bytes);
	return -E_STALE;
}

static s32 do_map(struct bytes *in, struct answer *out)
{
	const struct map_request *map = take(in, sizeof(*map));
	const char *path = map ? take(in, map->path_bytes) : 0;
	s64 fd, at;
	int err;

	if (!path || (map->bytes & (PAGE - 1)) || map->bytes < 3 * PAGE)
		return -E_INVAL;
	fd = open_path(path, map->path_bytes);
	if (is_error(fd))
		return (s32)fd;
	at = map_shared(map, fd);
	if (path[0] != '#')
		sys(SYS_CLOSE, fd);
	if (is_error(at))
		return (s32)at;
	err = agent_map_region(map->session, (u64)at, map->kind == MAP_RING ? 2 * map->bytes - 2 * PAGE : map->bytes, map->offset);
	if (err) {
		sys(SYS_MUNMAP, at, map->bytes);
		return err;
	}
	if (map->kind == MAP_REGION)
		agent_slot((struct region *)at);
	return give_u64(out, (u64)at);
}

static struct arena *find_arena(u64 at, u64 bytes)
{
	struct arena *arena = (void *)((u8 *)agent.state + STATE_ARENAS);

	for (u32 i = 0; i < MAX_ARENAS; i++, arena++)
		if (arena->base && at >= arena->base && at + bytes <= arena->base + arena->code_bytes + arena->data_bytes)
			return arena;
	return 0;
}

// {u64 hint, u32 code bytes, u32 data bytes}: code and data, near the hint or not at all.
static s32 do_arena(struct bytes *in, struct answer *out)
{
	const struct { u64 hint; u32 code, data; } *want = take(in, 16);
	struct arena *arena = (void *)((u8 *)agent.state + STATE_ARENAS);
	u32 i = 0;
	s64 at;

	if (!want || (want->code & (PAGE - 1)) || (want->data & (PAGE - 1)))
		return -E_INVAL;
	while (i < MAX_ARENAS && arena[i].base)
		i++;
	if (i == MAX_ARENAS)
		return -E_NOSPC;
	at = sys(SYS_MMAP, want->hint, (u64)want->code + want->data, PROT_R | PROT_X,
		 PRIVATE | ANONYMOUS | NORESERVE | FIXED_NOREPLACE, -1, 0);
	if (is_error(at))
		return (s32)at;
	if ((u64)at != want->hint) { // kernels before 4.17 take the address as a wish
		sys(SYS_MUNMAP, at, (u64)want->code + want->data);
		return -E_EXIST;
	}
	arena[i] = (struct arena){ .base = (u64)at, .code_bytes = want->code, .data_bytes = want->data };
	agent.state->arenas++;
	return give_u64(out, (u64)at);
}

static s32 change_code(u64 at, u64 bytes, int writable)
{
	u64 start = at & ~(u64)(PAGE - 1), end = (at + bytes + PAGE - 1) & ~(u64)(PAGE - 1);

	return (s32)sys(SYS_MPROTECT, start, end - start, PROT_R | PROT_X | (writable ? PROT_W : 0));
}

// {u64 address, u32 code used, u32 kept, bytes …}: code behind what is in use, or a thunk's head.
static s32 do_write(struct bytes *in)
{
	const struct { u64 at; u32 code_used, kept; } *want = take(in, 16);
	struct arena *arena = want ? find_arena(want->at, in->left) : 0;
	s32 err;

	if (!arena)
		return -E_INVAL;
	err = change_code(want->at, in->left, 1);
	if (err)
		return err;
	copy_bytes((void *)want->at, in->at, in->left);
	if (want->code_used)
		arena->code_used = want->code_used;
	arena->spare |= want->kept;
	return change_code(want->at, in->left, 0);
}

// A jump of 5 bytes in one aligned word: to `target`, or a no-op where that is what follows it.
static u64 with_jump(u64 word, u64 at, u64 target)
{
	static const u8 NO_JUMP[5] = { 0x0f, 0x1f, 0x44, 0, 0 };
	s32 distance = (s32)(target - (at + 5));
	u8 *code = (u8 *)&word + (at & 7);

	if (!distance) {
		copy_bytes(code, NO_JUMP, sizeof NO_JUMP);
		return word;
	}
	code[0] = 0xe9;
	copy_bytes(code + 1, &distance, 4);
	return word;
}

// n × {u64 address of a last jump in an arena, which lies in one aligned word; u64 new target}: one store each. A core
// fetches an aligned word whole (AMD64 manual, vol. 2, 7.6.1; on Intel too where the barrier follows).
static s32 do_relink(struct bytes *in)
{
	const u64 *one;
	s32 err = 0;

	while (!err && (one = take(in, 16))) {
		u64 *word = (u64 *)(one[0] & ~7ULL);
		u8 first = *(u8 *)one[0];

		if (!find_arena(one[0], 5) || (one[0] & 7) > 3 || (first != 0xe9 && first != 0x0f))
			return -E_INVAL;
		err = change_code(one[0], 5, 1);
		if (err)
			break;
		__atomic_store_n(word, with_jump(*word, one[0], one[1]), __ATOMIC_RELEASE);
		change_code(one[0], 5, 0);
	}
	cores_sync();
	return err;
}

// {u32 ranges, u32 items}, then ranges, then sites (APPLY) or indices (REMOVE). Reply: a status each.
static s32 do_sites(struct bytes *in, struct answer *out, int arm)
{
	const u32 *head = take(in, 8);
	const struct range *ranges = head ? take(in, head[0] * sizeof(struct range)) : 0;
	const void *items = ranges ? take(in, head[1] * (arm ? sizeof(struct site) : 4)) : 0;
	s32 *status = items ? give(out, head[1] * 4ULL) : 0;

	if (!status)
		return -E_INVAL;
	if (arm)
		return sites_apply(ranges, head[0], (struct site *)items, head[1], status);
	return sites_remove(ranges, head[0], items, head[1], status);
}

// n × {u64 address, s64 delta} on 16-bit counters; one that would leave its range stays as it is.
static s32 do_semaphore(struct bytes *in)
{
	const struct { u64 at; s64 delta; } *one;

	while ((one = take(in, 16))) {
		u16 *counter = (u16 *)one->at;
		u16 old = __atomic_load_n(counter, __ATOMIC_RELAXED);
		s64 next;

		do {
			next = old + one->delta;
			if (next < 0 || next > 0xffff)
				break;
		} while (!__atomic_compare_exchange_n(counter, &old, (u16)next, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	}
	return 0;
}

// n × {u64 address, u64 bytes}: copies, cut short where unreadable; each preceded by its length.
static s32 do_read(struct bytes *in, struct answer *out)
{
	const u64 *want;

	while ((want = take(in, 16))) {
		u64 *length = give(out, 8);
		u64 local[2], remote[2] = { want[0], want[1] };
		s64 got;

		if (!length || out->room - out->used < want[1])
			return -E_NOSPC;
		local[0] = (u64)(out->at + out->used);
		local[1] = want[1];
		got = sys(SYS_PROCESS_VM_READV, sys(SYS_GETPID), local, 1, remote, 1, 0);
		*length = got > 0 ? (u64)got : 0;
		out->used += (want[1] + 7) & ~7ULL;
	}
	return 0;
}

// {u64 function, u64 argument}: reply its result.
static s32 do_call(struct bytes *in, struct answer *out)
{
	const u64 *call = take(in, 16);

	return call ? give_u64(out, ((u64(*)(u64))call[0])(call[1])) : -E_INVAL;
}

// {u8 session[16]}: its mappings go. The tracer asks only when no thread can be inside its programs.
static s32 do_forget(struct bytes *in, struct answer *out)
{
	const u8 *id = take(in, 16);
	struct state_region *r;
	u64 count = 0;

	if (!id)
		return -E_INVAL;
	sample_stop(id);
	while ((r = agent_find_region(id))) {
		u64 base = r->base;

		r->base = 0;
		agent.state->regions--;
		sys(SYS_MUNMAP, base, r->bytes);
		count++;
	}
	return give_u64(out, count);
}

static s32 do_faults(struct bytes *in)
{
	const u32 *on = take(in, 4);

	if (!on)
		return -E_INVAL;
	if (*on)
		agent.state->flags |= STATE_FAULTS;
	else
		agent.state->flags &= ~(u32)STATE_FAULTS;
	if (!*on)
		detours_close();
	return fault_handler((int)*on);
}

static s32 do_dispatch(struct bytes *in)
{
	const struct dispatch_request *want = take(in, sizeof(*want));

	return want ? (s32)dispatch_calls(want) : -E_INVAL;
}

static s32 do_sample(struct bytes *in, struct answer *out)
{
	const struct sample_request *want = take(in, sizeof(*want));
	s64 signal = want ? sample_start(want) : -E_INVAL;

	return signal < 0 ? (s32)signal : give_u64(out, (u64)signal);
}

// {u8 session[16]}, or nothing for all.
static s32 do_unsample(struct bytes *in)
{
	sample_stop(take(in, 16));
	return 0;
}

static s32 dispatch(u16 opcode, struct bytes *in, struct answer *out, int *go)
{
	switch (opcode) {
	case OP_HELLO:
		return do_hello(in, out);
	case OP_MAP:
		return do_map(in, out);
	case OP_ARENA:
		return do_arena(in, out);
	case OP_WRITE:
		return do_write(in);
	case OP_RELINK:
		return do_relink(in);
	case OP_APPLY:
		return do_sites(in, out, 1);
	case OP_REMOVE:
		return do_sites(in, out, 0);
	case OP_SEMAPHORE:
		return do_semaphore(in);
	case OP_READ:
		return do_read(in, out);
	case OP_CALL:
		return do_call(in, out);
	case OP_GO:
		*go = 1;
		return 0;
	case OP_FORGET:
		return do_forget(in, out);
	case OP_FAULTS:
		return do_faults(in);
	case OP_DISPATCH:
		return do_dispatch(in);
	case OP_SAMPLE:
		return do_sample(in, out);
	case OP_UNSAMPLE:
		return do_unsample(in);
	default:
		return -E_NOTSUP;
	}
}

u64 serve_frames(const u8 *in, u64 bytes, u8 *out, u64 room, int *go)
{
	struct bytes rest = { in, bytes };
	struct answer answer = { out, 0, room };
	const struct frame *frame;
	s32 failed = 0;

	// Frames that come together build on one another: behind one that failed, nothing more is done.
	while ((frame = take(&rest, sizeof(*frame)))) {
		u64 padded = ((u64)frame->bytes + 7) & ~7ULL;
		struct bytes payload = { rest.at, frame->bytes };
		struct frame *reply;
		u64 start;

		if (!take(&rest, padded))
			break;
		reply = give(&answer, sizeof(*reply));
		if (!reply)
			break;
		start = answer.used;
		*reply = (struct frame){ .opcode = frame->opcode, .abi = BPFTIME_ABI, .sequence = frame->sequence };
		if (failed)
			reply->status = -E_CANCELED;
		else if (frame->abi != BPFTIME_ABI)
			reply->status = -E_PROTO;
		else
			reply->status = dispatch(frame->opcode, &payload, &answer, go);
		failed = reply->status;
		reply->bytes = (u32)(answer.used - start);
		answer.used = (answer.used + 7) & ~7ULL;
	}
	return answer.used;
}
