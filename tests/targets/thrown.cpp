// C++ exceptions through probed functions: thrown THREADS CALLS. Protocol of loop.c; prints "thrower N", "wrong N".
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <vector>

static unsigned long wrong;

extern "C" __attribute__((noinline)) long thrower(long a)
{
	if (a % 3 == 0)
		throw std::runtime_error("third");
	return a + 1;
}

extern "C" __attribute__((noinline)) long between(long a)
{
	struct Guard {
		long *value;
		~Guard() { *value += 1; }
	};
	long seen = 0;
	{
		Guard guard{&seen};
		seen += thrower(a);
	}
	return seen;
}

static void work(unsigned long calls)
{
	unsigned long bad = 0;

	for (unsigned long i = 0; i < calls; i++) {
		try {
			bad += between(static_cast<long>(i)) != static_cast<long>(i) + 2 || i % 3 == 0;
		} catch (const std::runtime_error &) {
			bad += i % 3 != 0;
		}
	}
	__atomic_fetch_add(&wrong, bad, __ATOMIC_SEQ_CST);
}

int main(int argc, char **argv)
{
	unsigned long threads = argc > 1 ? strtoul(argv[1], nullptr, 0) : 1;
	unsigned long calls = argc > 2 ? strtoul(argv[2], nullptr, 0) : 999;
	std::vector<std::thread> all;

	puts("ready");
	fflush(stdout);
	getchar();
	for (unsigned long i = 0; i < threads; i++)
		all.emplace_back(work, calls);
	for (auto &one : all)
		one.join();
	printf("thrower %lu\nreturned %lu\nwrong %lu\ndone\n", threads * calls, threads * (calls - (calls + 2) / 3), wrong);
	fflush(stdout);
	getchar();
	return wrong != 0;
}
