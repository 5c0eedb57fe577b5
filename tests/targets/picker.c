// Calls each version of tests/targets/versions.c another number of times, all through stubs.
#include <stdio.h>

__asm__(".symver pick_one, pick@V1\n.symver pick_two, pick@V2\n.symver old_one, old@V1");
int pick_one(int), pick_two(int), old_one(int), pick(int);

// The first of two functions of one name: the other is in tests/targets/twin.c.
static __attribute__((noinline, noclone)) int same(int n)
{
	__asm__ volatile("");
	return n + 1;
}

int twin(int n);

int main(void)
{
	int sum = 0;

	puts("ready");
	fflush(stdout);
	getchar();
	for (int i = 0; i < 12; i++) {
		sum += pick(i) + same(i);
		if (i % 2)
			sum += pick_two(i) + twin(i);
		if (i % 3 == 0)
			sum += pick_one(i);
		if (i % 4 == 0)
			sum += old_one(i);
	}
	printf("sum %d\ndone\n", sum);
	fflush(stdout);
	getchar();
	return 0;
}
