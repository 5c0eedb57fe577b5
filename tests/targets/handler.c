// Makes system calls all the time; the handler of SIGUSR1 says "in" and waits for a line, that of SIGUSR2 ends it all.
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile sig_atomic_t is_over;

static void wait_for_line(int number)
{
	char line[8];

	(void)number;
	if (write(1, "in\n", 3) < 0 || read(0, line, sizeof line) < 0)
		_exit(1);
}

static void end(int number)
{
	(void)number;
	is_over = 1;
}

int main(void)
{
	signal(SIGUSR1, wait_for_line);
	signal(SIGUSR2, end);
	puts("ready");
	fflush(stdout);
	while (!is_over)
		syscall(SYS_getppid);
	puts("done");
	return 0;
}
