// A library that is loaded while its program runs. Its constructor calls plugin_step once.
// With -DINDIRECT the function is chosen by a resolver, which needs the library's relocations.
#include <stdlib.h>

static int made;

#ifdef INDIRECT
static int one(int a)
{
	__asm__ volatile("movl $12345, %%ecx" : "+r"(a) : : "ecx");
	return a + 1;
}

static int (*resolve(void))(int) { return getenv("BPFTIME_NO_SUCH_NAME") ? 0 : one; }
int plugin_step(int) __attribute__((ifunc("resolve")));
#else
__attribute__((noinline)) int plugin_step(int a)
{
	__asm__ volatile("movl $12345, %%ecx" : "+r"(a) : : "ecx");
	return a + 1;
}
#endif

__attribute__((constructor)) static void begin(void) { made = plugin_step(0); }

int plugin_made(void) { return made; }
