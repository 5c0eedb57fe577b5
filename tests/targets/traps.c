// Everything about system calls that a tracer can break: traps. Prints a line each; the same traced and bare.
#define _GNU_SOURCE
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile int hits, depth;
static int ends[2];

static void *reads(void *unused)
{
	char byte;

	(void)unused;
	return (void *)read(ends[0], &byte, 1);
}

static void *nothing(void *value)
{
	return value;
}

static void jumps(int number)
{
	(void)number;
	siglongjmp(back, 1);
}

static void counts(int number)
{
	void *frames[64];

	(void)number;
	hits++;
	depth = backtrace(frames, 64);
}

static int child(void *argument)
{
	_exit((int)(long)argument);
}

static void cancelled(void)
{
	pthread_t thread;
	void *result;

	pthread_create(&thread, 0, reads, 0);
	usleep(20000);
	pthread_cancel(thread);
	pthread_join(thread, &result);
	printf("cancelled %d\n", result == PTHREAD_CANCELED);
}

// To jump out of anything else, fork() above all, could leave a lock behind.
static void wait_until_it_reads(int pid)
{
	char path[64], call[2] = "";
	int file;

	snprintf(path, sizeof path, "/proc/%d/syscall", pid);
	while (call[0] != '0' || call[1] != ' ') {
		usleep(1000);
		file = open(path, O_RDONLY);
		if (file < 0 || read(file, call, 2) != 2)
			_exit(1);
		close(file);
	}
}

static void handlers(void)
{
	struct sigaction once = { .sa_handler = counts, .sa_flags = SA_ONSTACK | SA_RESTART };
	stack_t other = { .ss_sp = malloc(65536), .ss_size = 65536 };
	struct timespec limit = { 0, 50000000 }, left;
	char byte;
	volatile int jumped = 0, i;
	int pid;

	sigaltstack(&other, 0);
	sigaction(SIGUSR1, &once, 0);
	for (i = 0; i < 1000; i++)
		raise(SIGUSR1);
	printf("raised %d, %s\n", hits, depth > 3 ? "frames" : "no frames");
	signal(SIGUSR2, jumps);
	for (i = 0; i < 20; i++) {
		if (sigsetjmp(back, 1)) {
			jumped++;
			continue;
		}
		pid = fork();
		if (!pid) {
			wait_until_it_reads(getppid());
			kill(getppid(), SIGUSR2);
			_exit(0);
		}
		if (read(ends[0], &byte, 1) != -2)
			puts("read came back");
	}
	while (wait(0) > 0)
		continue;
	printf("jumped out %d times\n", jumped);
	pid = fork();
	if (!pid) {
		usleep(5000);
		kill(getppid(), SIGSTOP);
		usleep(10000);
		kill(getppid(), SIGCONT);
		_exit(0);
	}
	printf("slept %d\n", nanosleep(&limit, &left));
	waitpid(pid, 0, 0);
}

static void children(void)
{
	char *stack = malloc(65536);
	volatile int i, good = 0;
	int status;

	for (i = 0; i < 200; i++) {
		pid_t pid = vfork();

		if (!pid)
			_exit(i & 7);
		good += waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == (i & 7);
	}
	printf("vfork %d\n", good);
	for (i = good = 0; i < 200; i++) {
		pid_t pid = clone(child, stack + 65536, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)(long)(i & 7));

		good += waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == (i & 7);
	}
	printf("clone %d\n", good);
	for (i = good = 0; i < 100; i++) {
		pid_t pid = (pid_t)syscall(SYS_fork);

		if (!pid)
			_exit(i & 7);
		good += waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == (i & 7);
	}
	printf("fork by number %d\n", good);
}

static void threads(void)
{
	pthread_t some[50];
	void *result;
	int good = 0;

	for (int round = 0; round < 20; round++) {
		for (long i = 0; i < 50; i++)
			pthread_create(&some[i], 0, nothing, (void *)i);
		for (long i = 0; i < 50; i++)
			good += !pthread_join(some[i], &result) && result == (void *)i;
	}
	printf("threads %d, set ids %d %d\n", good, setgid(getgid()), setuid(getuid()));
}

// A filter that looks where a call is made: it is made where it always was.
static void filtered(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
	};
	struct sock_fprog program = { sizeof code / sizeof code[0], code };
	const unsigned char *at = (const unsigned char *)getppid;

	while (at[0] != 0x0f || at[1] != 0x05)
		at++;
	code[3].k = (unsigned int)(unsigned long)(at + 2);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		puts("no filter");
	printf("filtered %d\n", getppid() > 0);
}

int main(void)
{
	long pid;

	setvbuf(stdout, 0, _IOLBF, 0);
	if (pipe(ends))
		return 1;
	cancelled();
	handlers();
	children();
	threads();
	__asm__ volatile("int $0x80" : "=a"(pid) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
	printf("32 bits %d\n", pid == getpid());
	filtered();
	return 7;
}
