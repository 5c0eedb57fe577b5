// One thread that calls plain functions a few times with known arguments: plain CALLS. Protocol of loop.c.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pair { int a; long b; };

#define NOINLINE __attribute__((noinline, noclone))

NOINLINE long add(long a, long b) { __asm__ volatile("" : "+r"(a)); return a + b; }
NOINLINE int negative(int a) { __asm__ volatile("" : "+r"(a)); return -a; }
NOINLINE unsigned char narrow(unsigned char a) { __asm__ volatile("" : "+r"(a)); return (unsigned char)(a + 250); }
NOINLINE long six(long a, long b, long c, long d, long e, long f) { __asm__ volatile("" : "+r"(a)); return a + b + c + d + e + f; }
NOINLINE const char *name_of(const char *name, const struct pair *pair) { __asm__ volatile("" : "+r"(name)); return pair->a ? name : 0; }
NOINLINE void nothing(void) { __asm__ volatile(""); }
NOINLINE long outer(long a) { __asm__ volatile("" : "+r"(a)); return add(a, 1) * 2; }

int main(int argc, char **argv)
{
	static const char *const names[] = {"alpha", "beta", "", "a longer name with blanks \xff"};
	struct pair pair = {7, 8};
	long calls = argc > 1 ? atol(argv[1]) : 4, sum = 0;

	puts("ready");
	fflush(stdout);
	getchar();
	for (long i = 0; i < calls; i++) {
		sum += add(i, 10) - i - 10;
		sum += negative((int)i) + i;
		sum += narrow((unsigned char)i) != (unsigned char)(i + 250);
		sum += six(i, 1, 2, 3, 4, 5) - i - 15;
		sum += name_of(names[i & 3], &pair) != names[i & 3];
		nothing();
		sum += outer(i) - (i + 1) * 2;
	}
	printf("calls %ld\nwrong %ld\ndone\n", calls, sum);
	fflush(stdout);
	getchar();
	return sum != 0;
}
