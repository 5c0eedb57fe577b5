// Memory of the target: reads that cannot crash it, strings, scratch for programs.
//
// The first read of a page asks the kernel (process_vm_readv on ourselves, which needs no handler). Where the
// tracer has allowed the fault handler, later reads of that page are plain loads with a row in the fault table:
// a page that was readable rarely goes away, and the handler catches the rest.
#include "fault.h"
#include "map.h"

enum { PAGE = 4096, SYS_PROCESS_VM_WRITEV = 311 };

struct piece {
	const void *at;
	u64 bytes;
};

// Pages that were readable when they were last looked at, by their number; 0 is none.
enum { KNOWN_PAGES = 256 };
static u64 known_pages[KNOWN_PAGES];

static inline int is_known(u64 at)
{
	u64 page = at / PAGE;

	return page && __atomic_load_n(&known_pages[page % KNOWN_PAGES], __ATOMIC_RELAXED) == page;
}

// Whether `bytes` at `from` may be read by plain loads: all in one page that is known, or two.
static inline int is_direct(const void *from, u64 bytes)
{
	return agent.reads_by_fault && bytes <= PAGE && is_known((u64)from) && is_known((u64)from + bytes - 1);
}

static void know(u64 at, u64 bytes)
{
	if (!agent.reads_by_fault || bytes > PAGE)
		return;
	__atomic_store_n(&known_pages[at / PAGE % KNOWN_PAGES], at / PAGE, __ATOMIC_RELAXED);
	at += bytes - 1;
	__atomic_store_n(&known_pages[at / PAGE % KNOWN_PAGES], at / PAGE, __ATOMIC_RELAXED);
}

// Bytes copied, or -errno. Copies whole pages only up to the first that is missing.
static HELPER s64 read_by_call(void *to, const void *from, u64 bytes)
{
	struct piece local = { to, bytes }, remote = { from, bytes };
	s64 done = sys(SYS_PROCESS_VM_READV, current_pid(), &local, 1, &remote, 1, 0);

	if (done == (s64)bytes)
		know((u64)from, bytes);
	return done < 0 ? -E_FAULT : done;
}

#define LOADER(bytes, type, instruction)                                                                           \
	HELPER u64 load_##bytes(const void *from)                                                                  \
	{                                                                                                          \
		type value = 0;                                                                                    \
		if (!is_direct(from, bytes)) {                                                                     \
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
	if (is_direct(from, bytes))
		err = copy_guarded(to, from, bytes);
	else
		err = read_by_call(to, from, bytes) == (s64)bytes ? 0 : -E_FAULT;
	if (err)
		zero_bytes(to, bytes);
	return err;
}

#define ONES 0x0101010101010101ULL

// Words while they have no zero byte, within one page. Length with NUL, 0 when there is none, or -EFAULT.
static inline s64 string_guarded(u8 *to, const u8 *from, u64 bytes)
{
	u64 done = 0, word;
	u32 byte;

	while (done < bytes) {
		if (bytes - done >= 8) {
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
	return 0;
faulted:
	return -E_FAULT;
}

// The same by a system call.
static s64 string_by_call(u8 *to, const u8 *from, u64 bytes)
{
	if (read_by_call(to, from, bytes) != (s64)bytes)
		return -E_FAULT;
	for (u64 i = 0; i < bytes; i++)
		if (!to[i])
			return (s64)i + 1;
	return 0;
}

enum { PIECE = 256 }; // bytes asked of the kernel at once

// Page by page, so that a string that ends before a hole is read whole. Length with NUL; cut strings end in NUL.
HELPER s64 probe_read_str(u8 *to, u64 bytes, const u8 *from)
{
	u64 done = 0;

	bytes = (u32)bytes;
	while (done < bytes) {
		u64 part = PAGE - ((u64)(from + done) & (PAGE - 1));
		s64 got;

		part = part < bytes - done ? part : bytes - done;
		if (is_direct(from + done, part)) {
			got = string_guarded(to + done, from + done, part);
		} else {
			part = part < PIECE ? part : PIECE;
			got = string_by_call(to + done, from + done, part);
		}
		if (got > 0)
			return (s64)done + got;
		if (got < 0) {
			to[0] = 0;
			return got;
		}
		done += part;
	}
	if (bytes)
		to[bytes - 1] = 0;
	return (s64)bytes;
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

// A run ends here because a loop went on too long.
HELPER void fuel_out(struct region *region)
{
	__atomic_fetch_add(&region->cut_runs, 1, __ATOMIC_RELAXED);
}
