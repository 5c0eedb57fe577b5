// A call that a signal interrupts, whose handler makes calls of the same kinds.
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static void handle(int number)
{
	(void)number;
	syscall(SYS_getppid);
	syscall(SYS_close, -2);
}

int main(void)
{
	struct itimerval soon = {.it_value = {0, 20000}};

	signal(SIGALRM, handle);
	setitimer(ITIMER_REAL, &soon, NULL);
	pause();
	return 0;
}
