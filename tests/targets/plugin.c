// A library that is loaded while its program runs. Its constructor calls plugin_step once.
static int made;

__attribute__((noinline)) int plugin_step(int a)
{
	__asm__ volatile("movl $12345, %%ecx" : "+r"(a) : : "ecx");
	return a + 1;
}

__attribute__((constructor)) static void begin(void) { made = plugin_step(0); }

int plugin_made(void) { return made; }
