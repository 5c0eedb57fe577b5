// What /proc knows of a process: names, parents, control groups. Descriptors live for one read only.
#include "map.h"

enum { SYS_GETPPID = 110, SYS_GETCPU = 309, O_CLOEXEC = 02000000, COMM = 16, PATH = 512, CGROUP_ROOT = 14 };

// Read the start of a file; returns bytes or -errno.
static s64 read_file(const char *path, u8 *to, u64 bytes)
{
	s64 fd = sys(SYS_OPEN, path, O_CLOEXEC), got;

	if (fd < 0)
		return fd;
	got = sys(SYS_READ, fd, to, bytes);
	sys(SYS_CLOSE, fd);
	return got;
}

static char *put_text(char *to, const char *text)
{
	while (*text)
		*to++ = *text++;
	*to = 0;
	return to;
}

static char *put_number(char *to, u64 value)
{
	char digits[24];
	u32 count = 0;

	do {
		digits[count++] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	while (count)
		*to++ = digits[--count];
	*to = 0;
	return to;
}

// Name of a process (of its leading thread), all zero where there is no such process.
HELPER s64 comm_of(u64 pid, u8 *to, u64 bytes)
{
	char path[40];
	u8 name[COMM + 1];
	s64 got;

	bytes = (u32)bytes;
	zero_bytes(to, bytes);
	put_text(put_number(put_text(path, "/proc/"), (u32)pid), "/comm");
	got = read_file(path, name, sizeof name);
	if (got <= 0)
		return got;
	for (s64 i = 0; i < got && name[i] != '\n' && (u64)i + 1 < bytes; i++)
		to[i] = name[i];
	return 0;
}

HELPER u64 parent_pid(void)
{
	return (u64)sys(SYS_GETPPID);
}

HELPER u64 numa_node(void)
{
	u32 cpu = 0, node = 0;

	sys(SYS_GETCPU, &cpu, &node, 0);
	return node;
}

// Inode of our group in the unified hierarchy, which is its id. 0 where there is none.
static HELPER u64 find_cgroup(void)
{
	u8 text[PATH];
	char path[PATH + CGROUP_ROOT + 1];
	u64 stat[STAT_BYTES / 8] = { 0 };
	s64 got = read_file("/proc/self/cgroup", text, sizeof text - 1), at = 0;
	char *end;

	if (got <= 0)
		return 0;
	text[got] = 0;
	while (at < got && !(text[at] == '0' && text[at + 1] == ':' && text[at + 2] == ':')) {
		while (at < got && text[at] != '\n')
			at++;
		at++;
	}
	if (at >= got)
		return 0;
	end = put_text(path, "/sys/fs/cgroup");
	for (at += 3; at < got && text[at] != '\n'; at++)
		*end++ = (char)text[at];
	*end = 0;
	return sys(SYS_NEWFSTATAT, AT_FDCWD, path, stat, 0) ? 0 : stat[STAT_INO / 8];
}

// Looked up once a process: a fork child has another id.
HELPER u64 cgroup_id(void)
{
	static u64 known_pid, known_id;
	u64 pid = current_pid();

	if (__atomic_load_n(&known_pid, __ATOMIC_ACQUIRE) != pid) {
		__atomic_store_n(&known_id, find_cgroup(), __ATOMIC_RELAXED);
		__atomic_store_n(&known_pid, pid, __ATOMIC_RELEASE);
	}
	return __atomic_load_n(&known_id, __ATOMIC_RELAXED);
}
