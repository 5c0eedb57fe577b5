// Functions whose names need a demangler: namespaces, overloads, members, operators, templates.
#include <cstdio>
#include <cstdlib>

#define NOINLINE __attribute__((noinline, noclone))

namespace shop {
namespace inner {
NOINLINE int f(int a, char b)
{
	asm volatile("");
	return a + b;
}

NOINLINE int f(double a)
{
	asm volatile("");
	return static_cast<int>(a);
}
} // namespace inner

struct till {
	int n;

	NOINLINE int add(int x)
	{
		asm volatile("");
		return n += x;
	}

	NOINLINE till operator+(int x) const
	{
		asm volatile("");
		return till{ n + x };
	}

	NOINLINE int operator()(int x) const
	{
		asm volatile("");
		return n - x;
	}
};

template <class T> NOINLINE T twice(T x)
{
	asm volatile("");
	return x + x;
}
} // namespace shop

namespace {
NOINLINE int hidden(int x)
{
	asm volatile("");
	return x;
}
} // namespace

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 10, sum = 0;
	shop::till till{ 0 };

	puts("ready");
	fflush(stdout);
	getchar();
	for (int i = 0; i < rounds; i++) {
		sum += shop::inner::f(i, 1) + shop::inner::f(1.5) + till.add(i) + (till + 1).n + till(i);
		sum += shop::twice(i) + static_cast<int>(shop::twice(2.0)) + hidden(i);
	}
	printf("sum %d\ndone\n", sum);
	fflush(stdout);
	getchar();
	return 0;
}
