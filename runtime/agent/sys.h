// Raw system calls for x86-64: the agent never calls libc. Numbers: arch/x86/entry/syscalls/syscall_64.tbl.
#pragma once
#include "protocol.h"

enum {
	SYS_READ = 0,
	SYS_OPEN = 2,
	SYS_CLOSE = 3,
	SYS_MMAP = 9,
	SYS_MPROTECT = 10,
	SYS_MUNMAP = 11,
	SYS_SIGACTION = 13,
	SYS_SIGPROCMASK = 14,
	SYS_SCHED_YIELD = 24,
	SYS_MADVISE = 28,
	SYS_GETPID = 39,
	SYS_KILL = 62,
	SYS_FTRUNCATE = 77,
	SYS_PRCTL = 157,
	SYS_ARCH_PRCTL = 158,
	SYS_GETTID = 186,
	SYS_FUTEX = 202,
	SYS_CLOCK_GETTIME = 228,
	SYS_TGKILL = 234,
	SYS_NEWFSTATAT = 262,
	SYS_PROCESS_VM_READV = 310,
	SYS_MEMFD_CREATE = 319,
	SYS_MEMBARRIER = 324,
};

enum { PROT_R = 1, PROT_W = 2, PROT_X = 4 };
enum { SHARED = 1, PRIVATE = 2, FIXED = 0x10, ANONYMOUS = 0x20, NORESERVE = 0x4000, FIXED_NOREPLACE = 0x100000 };
enum { AT_FDCWD = -100, STAT_DEV = 0, STAT_INO = 8, STAT_BYTES = 144 }; // struct stat: offsets and size
enum { E_PERM = 1, E_AGAIN = 11, E_FAULT = 14, E_BUSY = 16, E_EXIST = 17, E_INVAL = 22, E_NOSPC = 28,
       E_RANGE = 34, E_PROTO = 71, E_NOTSUP = 95, E_TIMEDOUT = 110, E_STALE = 116, E_CANCELED = 125 };

static inline s64 sys6(s64 nr, s64 a, s64 b, s64 c, s64 d, s64 e, s64 f)
{
	s64 ret;
	register s64 r10 __asm__("r10") = d;
	register s64 r8 __asm__("r8") = e;
	register s64 r9 __asm__("r9") = f;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define SYS_AT(nr, a, b, c, d, e, f, ...) sys6(nr, (s64)(a), (s64)(b), (s64)(c), (s64)(d), (s64)(e), (s64)(f))
// sys(nr, up to six arguments): missing ones are 0.
#define sys(...) SYS_AT(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

// mmap and friends return a pointer or -errno in the last page.
static inline int is_error(s64 value)
{
	return value < 0 && value >= -4095;
}
