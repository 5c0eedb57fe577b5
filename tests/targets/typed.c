// Functions with parameters of all kinds, for debug info; protocol of loop.c. typed CALLS.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline, noclone))

enum colour { RED, GREEN = 5, BLUE };
typedef unsigned long counter_t;
struct point { int x, y; };
struct big { long a[4]; char name[16]; };
struct item {
	struct item *next;
	char name[12];
	enum colour colour;
	unsigned flags : 3, level : 7;
	union { int number; float real; };
	struct point at;
	struct { short s; } in[2];
	counter_t count;
	double share;
	const char *text;
};

NOINLINE int area(struct point *p, enum colour c) { __asm__ volatile("" : "+r"(p)); return p->x * p->y + (int)c; }
NOINLINE long walk(const struct item *item, int depth, char letter, counter_t n)
{
	long sum = 0;

	for (; item && depth--; item = item->next)
		sum += item->at.x + letter + (long)n;
	return sum;
}
NOINLINE long by_value(struct point p, int k) { __asm__ volatile("" : "+r"(k)); return p.x + p.y + k; }
NOINLINE long by_big(struct big b, int k) { __asm__ volatile("" : "+r"(k)); return b.a[0] + k; }
NOINLINE struct big make(int k) { struct big b; memset(&b, k, sizeof b); return b; }
NOINLINE double mixed(double d, int a, float f, long b) { __asm__ volatile("" : "+r"(a)); return d + a + f + (double)b; }
NOINLINE int many(int a, signed char b, unsigned short c, int d, int e, int f, int g)
{
	__asm__ volatile("" : "+r"(a));
	return a + b + c + d + e + f + g;
}
NOINLINE void none(void) { __asm__ volatile(""); }

int main(int argc, char **argv)
{
	static const struct point p = {3, 4};
	struct item second = {0, "second", BLUE, 1, 100, {7}, {5, 6}, {{1}, {2}}, 99, 2.5, "hello"};
	struct item first = {&second, "first", GREEN, 5, 77, {8}, {1, 2}, {{3}, {4}}, 98, 1.5, "world"};
	struct big big = {{1, 2, 3, 4}, "bigname"};
	long calls = argc > 1 ? atol(argv[1]) : 1, sum = 0;

	puts("ready");
	fflush(stdout);
	getchar();
	for (long i = 0; i < calls; i++) {
		struct point moved = {3, 4 + (int)i};

		sum += area(&moved, GREEN) + walk(&first, 5, 'x', 1000) + by_value(p, 9) + by_big(big, 8);
		sum += make(1).a[0] + (long)mixed(1.0, 2, 3.0f, 4) + many(1, -2, 65535, 4, 5, 6, 7);
		none();
	}
	printf("sum %ld\ndone\n", sum);
	fflush(stdout);
	getchar();
	return 0;
}
