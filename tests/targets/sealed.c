// A process in a sandbox that is killed by nearly every system call: sealed CALLS. Protocol of loop.c.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

__attribute__((noinline)) int step(int a)
{
	__asm__ volatile("" : "+r"(a));
	return a * 3;
}

static void seal(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		exit(2);
}

int main(int argc, char **argv)
{
	static char in[4096], out[4096];
	unsigned long calls = argc > 1 ? strtoul(argv[1], 0, 0) : 1000;

	setvbuf(stdin, in, _IOFBF, sizeof(in));
	setvbuf(stdout, out, _IOFBF, sizeof(out));
	seal();
	puts("ready");
	fflush(stdout);
	getchar();
	for (unsigned long i = 0; i < calls; i++)
		step((int)i);
	printf("calls %lu\ndone\n", calls);
	fflush(stdout);
	getchar();
	return 0;
}
