// Memory of the target: reads that cannot crash it, strings, scratch for programs.
//
// A guarded read is a plain load with a row in the fault table where the tracer has allowed the handler, else
// process_vm_readv on ourselves, which needs no handler (150 ns against 0.5).
#include "fault.h"
#include "map.h"

enum { PAGE = 4096, SYS_PROCESS_VM_WRITEV = 311 };

struct piece {
	const void *at;
	u64 bytes;
};

// Bytes copied, or -errno. Copies whole pages only up to the first that is missing.
static HELPER s64 read_by_call(void *to, const void *from, u64 bytes)
{
	struct piece local = { to, bytes }, remote = { from, bytes };
	s64 done = sys(SYS_PROCESS_VM_READV, sys(SYS_GETPID), &local, 1, &remote, 1, 0);

	return done < 0 ? -E_FAULT : done;
}

#define LOADER(bytes, type, instruction)                                                                           \
	HELPER u64 load_##bytes(const void *from)                                                                  \
	{                                                                                                          \
		type value = 0;                                                                                    \
		if (!agent.reads_by_fault) {                                                                       \
			read_by_call(&value, from, bytes);                                                         \
			return value;                                                                              \
		}                                                                                                  \
		LOAD_OR_FAULT(value, from, instruction);                                                           \
		return value;                                                                                      \
	faulted:                                                                                                   \
		return 0;                                                                                          \
	}

LOADER(1, u8, "movb (%1), %0")
LOADER(2, u16, "movw (%1), %0")
LOADER(4, u32, "movl (%1), %0")
LOADER(8, u64, "movq (%1), %0")

static inline int copy_guarded(u8 *to, const u8 *from, u64 bytes)
{
	u64 word;
	u32 byte;

	for (; bytes >= 8; bytes -= 8, to += 8, from += 8) {
		LOAD_OR_FAULT(word, from, "movq (%1), %0");
		*(u64 *)to = word;
	}
	for (; bytes; bytes--) {
		LOAD_OR_FAULT(byte, from++, "movzbl (%1), %0");
		*to++ = (u8)byte;
	}
	return 0;
faulted:
	return -E_FAULT;
}

HELPER s64 probe_read(void *to, u64 bytes, const void *from)
{
	s64 err;

	bytes = (u32)bytes;
	if (!bytes)
		return 0;
	if (agent.reads_by_fault)
		err = copy_guarded(to, from, bytes);
	else
		err = read_by_call(to, from, bytes) == (s64)bytes ? 0 : -E_FAULT;
	if (err)
		zero_bytes(to, bytes);
	return err;
}

#define ONES 0x0101010101010101ULL

// Words while they have no zero byte and do not cross a page, bytes otherwise. Length with NUL, or -EFAULT.
static inline s64 string_guarded(u8 *to, const u8 *from, u64 bytes)
{
	u64 done = 0, word;
	u32 byte;

	while (done < bytes) {
		if (bytes - done >= 8 && ((u64)(from + done) & (PAGE - 1)) <= PAGE - 8) {
			LOAD_OR_FAULT(word, from + done, "movq (%1), %0");
			if (!((word - ONES) & ~word & (ONES << 7))) {
				*(u64 *)(to + done) = word;
				done += 8;
				continue;
			}
		}
		LOAD_OR_FAULT(byte, from + done, "movzbl (%1), %0");
		to[done++] = (u8)byte;
		if (!byte)
			return (s64)done;
	}
	to[bytes - 1] = 0;
	return (s64)bytes;
faulted:
	return -E_FAULT;
}

// By system calls: up to the end of a page at a time, so that a string before a hole is read whole.
static s64 string_by_call(u8 *to, const u8 *from, u64 bytes)
{
	u64 done = 0;

	while (done < bytes) {
		u64 part = PAGE - ((u64)(from + done) & (PAGE - 1));

		part = part < bytes - done ? part : bytes - done;
		part = part < 256 ? part : 256;
		if (read_by_call(to + done, from + done, part) != (s64)part)
			return -E_FAULT;
		for (u64 end = done + part; done < end; done++)
			if (!to[done])
				return (s64)done + 1;
	}
	to[bytes - 1] = 0;
	return (s64)bytes;
}

HELPER s64 probe_read_str(u8 *to, u64 bytes, const u8 *from)
{
	s64 got;

	bytes = (u32)bytes;
	if (!bytes)
		return 0;
	got = agent.reads_by_fault ? string_guarded(to, from, bytes) : string_by_call(to, from, bytes);
	if (got < 0)
		to[0] = 0;
	return got;
}

HELPER s64 probe_write(void *to, const void *from, u64 bytes)
{
	struct piece local = { from, (u32)bytes }, remote = { to, (u32)bytes };
	s64 done = sys(SYS_PROCESS_VM_WRITEV, sys(SYS_GETPID), &local, 1, &remote, 1, 0);

	return done == (s64)(u32)bytes ? 0 : -E_FAULT;
}

HELPER u64 zero(void *to, u64 bytes)
{
	zero_bytes(to, bytes);
	return 0;
}

HELPER u64 copy(void *to, const void *from, u64 bytes)
{
	copy_bytes(to, from, bytes);
	return 0;
}

// Tail calls: the address to go to is in the second word behind the context, whose size names the stub.
#define TAIL_JUMP(size, place)                                                                                     \
	__asm__(".text\n.type tail_jump_" #size ", @function\ntail_jump_" #size ": jmp *" #place "(%rdi)\n"      \
		".size tail_jump_" #size ", . - tail_jump_" #size "\n")

TAIL_JUMP(16, 24);
TAIL_JUMP(24, 32);
TAIL_JUMP(64, 72);
TAIL_JUMP(168, 176);
TAIL_JUMP(184, 192);

u64 fuel_empty; // runs that ended because a loop went on too long; read by the tracer in its own process

HELPER void fuel_out(void)
{
	__atomic_fetch_add(&fuel_empty, 1, __ATOMIC_RELAXED);
}
