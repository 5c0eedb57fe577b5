// Data of every size, a member of a struct, a list of words, a signal that is counted: data CALLS. Protocol of loop.c.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct inner { int x; };
struct outer { long first; struct inner inner; int last; };

char one_byte = 0x11;
short two_bytes = 0x2222;
int four_bytes = 0x33333333;
long eight_bytes = 0x4444;
char *words[] = {"alpha", "beta", "gamma", 0, "never"};
char bytes[] = {(char)0xde, (char)0xad, (char)0xbe, (char)0xef, 1, 2};

static volatile sig_atomic_t signals;
static struct outer whole = {7, {8}, 9};

static void count(int number) { signals += number != 0; }

__attribute__((noinline, noclone)) int member(struct inner *inner) { __asm__ volatile("" : "+r"(inner)); return inner->x; }
__attribute__((noinline, noclone)) int list(char **of) { __asm__ volatile("" : "+r"(of)); return of[0][0]; }
__attribute__((noinline, noclone)) int raw(char *from) { __asm__ volatile("" : "+r"(from)); return from[0]; }

int main(int argc, char **argv)
{
	long calls = argc > 1 ? atol(argv[1]) : 1, sum = 0;

	signal(SIGUSR1, count);
	puts("ready");
	fflush(stdout);
	getchar();
	for (long i = 0; i < calls; i++)
		sum += member(&whole.inner) - 8 + list(words) - 'a' + raw(bytes) - bytes[0];
	printf("calls %ld\nwrong %ld\nsignals %d\ndone\n", calls, sum, (int)signals);
	fflush(stdout);
	getchar();
	return sum != 0;
}
