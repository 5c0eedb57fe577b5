// Who runs: ids, names, signals, locks between programs.
#include "map.h"

enum { SYS_GETUID = 102, SYS_GETGID = 104, PR_GET_NAME = 16, COMM = 16, SYS_TKILL_ = 200 };
enum { LOCK_ROUNDS = 2048 };
#define TASK_TAG 0xffff888000000000ULL // looks like a kernel address: nothing in user space is there

HELPER u64 uid_gid(void)
{
	return (u64)(u32)sys(SYS_GETGID) << 32 | (u32)sys(SYS_GETUID);
}

HELPER s64 comm(u8 *to, u64 bytes)
{
	u8 name[COMM] = { 0 };

	bytes = (u32)bytes;
	sys(SYS_PRCTL, PR_GET_NAME, name);
	zero_bytes(to, bytes);
	for (u64 i = 0; i + 1 < bytes && i < COMM; i++)
		to[i] = name[i];
	return 0;
}

HELPER u64 current_task(void)
{
	return TASK_TAG | agent_tid();
}

HELPER u64 random_u32(void)
{
	static u64 state;
	u64 next = __atomic_load_n(&state, __ATOMIC_RELAXED) * 6364136223846793005ULL;

	next += __builtin_ia32_rdtsc() | 1;
	__atomic_store_n(&state, next, __ATOMIC_RELAXED);
	next ^= next >> 29;
	return (u32)(next * 0xbf58476d1ce4e5b9ULL >> 32);
}

HELPER s64 send_signal_thread(u64 signal)
{
	return sys(SYS_TKILL_, agent_tid(), (u32)signal);
}

HELPER s64 send_signal(u64 signal)
{
	return sys(SYS_KILL, sys(SYS_GETPID), (u32)signal);
}

// {u32 pid, u32 tgid} in the caller's pid namespace, which dev and inode must name.
HELPER s64 ns_pid_tgid(u64 device, u64 inode, u32 *to, u64 bytes)
{
	u64 stat[STAT_BYTES / 8];

	if ((u32)bytes != 8) {
		zero_bytes(to, (u32)bytes);
		return -E_INVAL;
	}
	to[0] = to[1] = 0;
	if (sys(SYS_NEWFSTATAT, AT_FDCWD, "/proc/self/ns/pid", stat, 0))
		return -E_INVAL;
	if (stat[STAT_DEV / 8] != device || stat[STAT_INO / 8] != inode)
		return -E_INVAL;
	to[0] = agent_tid();
	to[1] = (u32)sys(SYS_GETPID);
	return 0;
}

// A lock in a map value holds the owner's thread id. An owner that has ended, or holds it for milliseconds, loses it.
HELPER s64 spin_lock(u32 *lock)
{
	u32 own = agent_tid();

	for (u32 round = 0; round < LOCK_ROUNDS; round++) {
		u32 owner = 0;

		if (__atomic_compare_exchange_n(lock, &owner, own, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED) || owner == own)
			return 0;
		if (round % 64 == 63 && sys(SYS_TKILL_, owner, 0) == -E_SRCH)
			__atomic_compare_exchange_n(lock, &owner, 0, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
		for (u32 i = 0; i < 64; i++)
			__builtin_ia32_pause();
		if (round > 16)
			sys(SYS_SCHED_YIELD);
	}
	__atomic_store_n(lock, own, __ATOMIC_RELAXED);
	return 0;
}

HELPER s64 spin_unlock(u32 *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
	return 0;
}
