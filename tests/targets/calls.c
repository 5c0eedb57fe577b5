// Threads that make system calls and check each result until a line comes: calls THREADS.
//
// Prints "ready" once five more threads are blocked in calls, works from a first line to a second, prints how often it
// made each call and "wrong N", then "done". A timer interrupts all the time; its handler makes a call of its own.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int is_over;
static unsigned long all_getppid, all_gettid, all_read, all_write, all_getuid, all_wrong;
static int zero, null, pipes[2], other[2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

// getppid with a pattern in every register that the kernel keeps, in the flags and below the stack pointer;
// returns how many of them have changed.
long kept_over_call(void);
__asm__(".text\n.globl kept_over_call\n.type kept_over_call, @function\nkept_over_call:\n"
	".cfi_startproc\n"
	"push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
	".set n, 1\n"
	".irp r, rbx, rbp, rdx, rsi, rdi, r8, r9, r10, r12, r13, r14, r15\n"
	"movabs $0x1122334455667700 + n, %\\r\n.set n, n + 1\n.endr\n"
	".set n, 8\n"
	".rept 16\nmov %r15, -n(%rsp)\n.set n, n + 8\n.endr\n"
	".irp x, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
	"movq %r15, %xmm\\x\npunpcklqdq %xmm\\x, %xmm\\x\n.endr\n"
	"mov $110, %eax\nstc\nsyscall\n"
	"mov $0, %eax\nmov $0, %ecx\nadc $0, %ecx\nxor $1, %ecx\nadd %rcx, %rax\n"
	".set n, 1\n"
	".irp r, rbx, rbp, rdx, rsi, rdi, r8, r9, r10, r12, r13, r14, r15\n"
	"movabs $0x1122334455667700 + n, %r11\ncmp %r11, %\\r\nsetne %cl\nadd %rcx, %rax\n.set n, n + 1\n.endr\n"
	".set n, 8\n"
	".rept 16\ncmp %r15, -n(%rsp)\nsetne %cl\nadd %rcx, %rax\n.set n, n + 8\n.endr\n"
	".irp x, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
	"movq %xmm\\x, %r11\ncmp %r11, %r15\nsetne %cl\nadd %rcx, %rax\n.endr\n"
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n"
	".cfi_endproc\n.size kept_over_call, . - kept_over_call\n");

static void handler(int number)
{
	(void)number;
	syscall(SYS_getuid);
	__atomic_fetch_add(&all_getuid, 1, __ATOMIC_RELAXED);
}

static void *work(void *unused)
{
	unsigned long getppids = 0, gettids = 0, reads = 0, writes = 0, wrong = 0;
	long parent = getppid(), self = syscall(SYS_gettid);
	char buffer[64];

	(void)unused;
	getppids++, gettids++;
	while (!is_over) {
		wrong += getppid() != parent;
		wrong += syscall(SYS_gettid) != self;
		memset(buffer, 1, sizeof buffer);
		wrong += read(zero, buffer, sizeof buffer) != sizeof buffer || buffer[63];
		wrong += write(null, buffer, 7) != 7;
		wrong += read(-1, buffer, 1) != -1 || errno != EBADF;
		wrong += (unsigned long)kept_over_call();
		getppids += 2, gettids++, reads++, writes++;
	}
	__atomic_fetch_add(&all_getppid, getppids, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&all_gettid, gettids, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&all_read, reads, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&all_write, writes, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&all_wrong, wrong, __ATOMIC_SEQ_CST);
	return 0;
}

// Blocked until the end, each in a call of its own kind; says whether that ended as it has to.
static void *blocked(void *kind)
{
	struct timespec limit = { 3600, 0 };
	struct pollfd one = { other[0], POLLIN, 0 };
	unsigned long wrong = 0;
	sigset_t none;
	char byte;

	sigfillset(&none);
	pthread_sigmask(SIG_BLOCK, &none, 0);
	switch ((long)kind) {
	case 0:
		wrong = read(pipes[0], &byte, 1) != 1 || byte != 'x';
		break;
	case 1:
		pthread_mutex_lock(&lock);
		while (!is_over)
			pthread_cond_wait(&changed, &lock);
		pthread_mutex_unlock(&lock);
		break;
	case 2:
		wrong = poll(&one, 1, 3600000) != 1 || one.revents != POLLIN;
		break;
	case 3:
		sigemptyset(&none);
		sigaddset(&none, SIGUSR1);
		pthread_sigmask(SIG_UNBLOCK, &none, 0);
		wrong = nanosleep(&limit, &limit) != -1 || errno != EINTR;
		break;
	default:
		wrong = read(pipes[0], &byte, 1) != 1 || byte != 'x';
	}
	__atomic_fetch_add(&all_wrong, wrong, __ATOMIC_SEQ_CST);
	return 0;
}

int main(int argc, char **argv)
{
	int threads = argc > 1 ? atoi(argv[1]) : 1;
	struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = { { 0, 0 }, { 0, 0 } };
	pthread_t thread[256], waiting[5];
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	sigset_t alarm;

	zero = open("/dev/zero", O_RDONLY);
	null = open("/dev/null", O_WRONLY);
	if (pipe(pipes) || pipe(other))
		return 2;
	sigaction(SIGALRM, &action, 0);
	sigaction(SIGUSR1, &action, 0);
	for (long i = 0; i < 5; i++)
		pthread_create(&waiting[i], 0, blocked, (void *)i);
	usleep(20000);
	puts("ready");
	fflush(stdout);
	getchar();
	for (int i = 0; i < threads; i++)
		pthread_create(&thread[i], 0, work, 0);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarm, 0); // the handler runs in the workers
	setitimer(ITIMER_REAL, &often, 0);
	getchar();
	setitimer(ITIMER_REAL, &never, 0);
	is_over = 1;
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], 0);
	pthread_kill(waiting[3], SIGUSR1);
	pthread_mutex_lock(&lock);
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	if (write(pipes[1], "xx", 2) != 2 || write(other[1], "x", 1) != 1)
		return 2;
	for (int i = 0; i < 5; i++)
		pthread_join(waiting[i], 0);
	printf("getppid %lu\ngettid %lu\nread %lu\nwrite %lu\ngetuid %lu\nwrong %lu\ndone\n", all_getppid, all_gettid, all_read,
	       all_write, all_getuid, all_wrong);
	fflush(stdout);
	getchar();
	return all_wrong != 0;
}
