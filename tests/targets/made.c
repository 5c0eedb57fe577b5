// System calls from code that is made at run time: made ROUNDS. Protocol of loop.c.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const unsigned char code[] = { // mov rax, rdi; mov rdi, rsi; mov rsi, rdx; mov rdx, rcx; mov r10, r8; syscall; ret
	0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x89, 0xca, 0x4d, 0x89, 0xc2, 0x0f, 0x05, 0xc3,
};
static long (*made)(long number, ...);
static long rounds, wrong;

static void *works(void *unused)
{
	long pid = getpid();

	for (long i = 0; i < rounds; i++)
		if (made(SYS_getpid) != pid)
			__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t threads[4];
	unsigned long mask = 1UL << (SIGUSR1 - 1), now = 0;
	char line[8];
	int status;
	long pid;

	rounds = atol(argv[argc - 1]);
	if (argc > 2)
		signal(SIGSYS, exit);
	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin))
		return 1;
	made = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy((void *)made, code, sizeof code);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], 0, works, 0);
	works(0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], 0);
	made(SYS_rt_sigprocmask, SIG_BLOCK, &mask, 0, 8);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, &now, 8);
	wrong += now != mask;
	pid = made(SYS_fork);
	if (!pid) {
		works(0);
		_exit(wrong != 0);
	}
	waitpid((int)pid, &status, 0);
	wrong += status != 0;
	wrong += made(SYS_close, 12345L) != -9;
	printf("wrong %ld\nrounds %ld\ndone\n", wrong, rounds);
	fflush(stdout);
	return !fgets(line, sizeof line, stdin) && wrong;
}
