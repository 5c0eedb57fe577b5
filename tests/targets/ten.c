// Threads that call ten functions of every kind and check each result until a line comes: ten THREADS.
//
// Prints "ready", works from a first line to a second, prints "NAME CALLS" for each and "wrong N", then "done".
// The threads are made before and end after that: what the C library does for them is not counted.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MALLOC, FREE, MEMCPY, STRLEN, LOCK, UNLOCK, SIX, RECURSIVE, TAIL, NINE, KINDS };

static const char NAMES[KINDS][24] = {
	"malloc ", "free ", "memcpy ", "strlen ", "pthread_mutex_lock ", "pthread_mutex_unlock ",
	"ten_six ", "ten_recursive ", "ten_tail ", "ten_nine ",
};
static volatile int is_over;
static unsigned long all[KINDS], all_wrong;
static pthread_barrier_t start, end, leave;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned long guarded; // by the mutex

// Through pointers that the compiler does not see through: a call each, nothing inlined.
static void *(*volatile get)(size_t) = malloc;
static void (*volatile put)(void *) = free;
static void *(*volatile copy)(void *, const void *, size_t) = memcpy;
static size_t (*volatile length)(const char *) = strlen;

__asm__(".text\n.balign 16\n.globl ten_six\n.type ten_six,@function\nten_six:\n lea 5(%rdi),%rax\n nop\n ret\n"
	".size ten_six, . - ten_six\n.balign 16\n");
long ten_six(long a);

__attribute__((noipa, optimize("no-optimize-sibling-calls"))) long ten_recursive(long n)
{
	return n < 2 ? n : ten_recursive(n - 1) + ten_recursive(n - 2);
}

__attribute__((noipa)) long ten_nine(long a, long b, long c, long d, long e, long f, long g, long h, long i)
{
	return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i;
}

__attribute__((noipa)) long ten_tail(long a) { return ten_six(a * 2); }

static unsigned long one_round(long i, unsigned long *calls)
{
	static const char TEXT[] = "a text of thirty-one characters";
	unsigned long wrong = 0;
	char *room = get(32);

	wrong += copy(room, TEXT, sizeof TEXT) != room || memcmp(room, TEXT, sizeof TEXT) != 0;
	wrong += length(room) != sizeof TEXT - 1;
	put(room);
	if ((i & 7) == 0) {
		pthread_mutex_lock(&mutex);
		guarded++;
		wrong += pthread_mutex_unlock(&mutex) != 0;
		calls[LOCK]++;
		calls[UNLOCK]++;
	}
	wrong += ten_six(i) != i + 5;
	wrong += ten_recursive(3) != 2;
	wrong += ten_tail(i) != 2 * i + 5;
	wrong += ten_nine(i, 1, 2, 3, 4, 5, 6, 7, 8) != i + 2 + 6 + 12 + 20 + 30 + 42 + 56 + 72;
	calls[MALLOC]++, calls[FREE]++, calls[MEMCPY]++, calls[STRLEN]++;
	calls[SIX] += 2, calls[RECURSIVE] += 5, calls[TAIL]++, calls[NINE]++;
	return wrong;
}

static void *work(void *unused)
{
	unsigned long calls[KINDS] = { 0 }, wrong = 0;

	(void)unused;
	put(get(32)); // the thread's arena: making the first ones calls memcpy
	setpriority(PRIO_PROCESS, 0, 19); // of this thread: the main one, and a tracer, run when they want to
	pthread_barrier_wait(&start);
	for (long i = 0; !is_over; i++)
		wrong += one_round(i, calls);
	for (int k = 0; k < KINDS; k++)
		__atomic_fetch_add(&all[k], calls[k], __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&all_wrong, wrong, __ATOMIC_SEQ_CST);
	pthread_barrier_wait(&end);
	pthread_barrier_wait(&leave);
	return 0;
}

// Print a line without printf, which calls some of the functions that are counted.
static void say(const char *name, unsigned long number)
{
	char line[64], *at = line + sizeof line;

	*--at = '\n';
	do
		*--at = (char)('0' + number % 10);
	while (number /= 10);
	while (*name)
		(void)!write(1, name++, 1);
	(void)!write(1, at, (size_t)(line + sizeof line - at));
}

// Wait for a line without the library's buffers, which copy.
static void await(void)
{
	char got;

	while (read(0, &got, 1) == 1 && got != '\n')
		;
}

int main(int argc, char **argv)
{
	pthread_t thread[256];
	unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : 1;

	pthread_barrier_init(&start, 0, threads + 1);
	pthread_barrier_init(&end, 0, threads + 1);
	pthread_barrier_init(&leave, 0, threads + 1);
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&thread[i], 0, work, 0);
	(void)!write(1, "ready\n", 6);
	await();
	pthread_barrier_wait(&start);
	await();
	is_over = 1;
	pthread_barrier_wait(&end);
	for (int k = 0; k < KINDS; k++)
		say(NAMES[k], all[k]);
	say("wrong ", all_wrong + (guarded != all[LOCK]));
	(void)!write(1, "done\n", 5);
	await();
	pthread_barrier_wait(&leave);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], 0);
	return all_wrong != 0;
}
