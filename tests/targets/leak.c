// Allocates memory of which some is never freed: what a leak finder must tell, and what it must not.
#include <stdlib.h>

static void *volatile kept;

__attribute__((noinline)) static void forget(size_t bytes)
{
	kept = malloc(bytes);
}

__attribute__((noinline)) static void give_back(size_t bytes)
{
	void *more = realloc(calloc(1, bytes), 10 * bytes);

	kept = more;
	free(more);
}

int main(void)
{
	for (int i = 0; i < 3; i++)
		forget(1000);
	for (int i = 0; i < 100; i++)
		give_back(500);
	return kept == 0;
}
