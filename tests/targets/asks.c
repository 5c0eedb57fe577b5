// Makes known system calls: asks N. Prints "ready", waits for a line, works, prints "done", waits again.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void once(long i)
{
	struct iovec parts[2] = { { "ab", 2 }, { "cde", 3 } };
	struct stat about;
	char buffer[32];
	int null = openat(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0640), status;
	void *page;
	pid_t child;

	if (openat(AT_FDCWD, "/nonexistent/first", O_RDONLY) != -1 || errno != ENOENT)
		abort();
	if (write(null, "seven..", 7) != 7 || writev(null, parts, 2) != 5 || read(null, buffer, 32) != 0)
		abort();
	if (lseek(-1, -5, SEEK_CUR) != -1 || ftruncate(null, -9) != -1)
		abort();
	page = mmap(0, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || munmap(page, 12288))
		abort();
	// Calls whose number the code does not tell.
	if (syscall(SYS_getpgid, 0) != getpgid(0) || syscall(SYS_dup2, null, 77) != 77 || syscall(SYS_close, 77))
		abort();
	if (syscall(SYS_newfstatat, AT_FDCWD, "/nonexistent/stat", &about, 0) != -1 || syscall(500, 1, 2, 3) != -1)
		abort();
	child = fork();
	if (!child)
		_exit(40 + (int)i);
	if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 40 + i)
		abort();
	child = vfork();
	if (!child) {
		execve("/nonexistent/program", (char *[]){ "program", 0 }, 0);
		_exit(50);
	}
	if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 50)
		abort();
	close(null);
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 1;

	puts("ready");
	fflush(stdout);
	getchar();
	for (long i = 0; i < n; i++)
		once(i);
	puts("done");
	fflush(stdout);
	getchar();
	return 0;
}
