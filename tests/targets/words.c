// Calls b() with the words of each call: words A B / C calls b(A, B) and b(C).
//
// A word is a number, or `s` and the bytes of a text in hexadecimal: the address of these bytes and a zero byte.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) long b(long a0, long a1, long a2, long a3, long a4, long a5)
{
	__asm__ volatile("" : "+r"(a0) : : "memory");
	return a0 ^ a1 ^ a2 ^ a3 ^ a4 ^ a5;
}

static long word(const char *text)
{
	size_t count = strlen(text) / 2;
	unsigned char *bytes;

	if (*text != 's')
		return (long)strtoull(text, NULL, 0);
	bytes = calloc(count + 1, 1);
	for (size_t i = 0; i < count; i++)
		sscanf(text + 1 + 2 * i, "%2hhx", bytes + i);
	return (long)bytes;
}

int main(int argc, char **argv)
{
	long words[6] = {0}, sum = 0;
	int count = 0;

	for (int i = 1; i <= argc; i++) {
		if (i < argc && *argv[i] != '/') {
			words[count++ % 6] = word(argv[i]);
			continue;
		}
		sum += b(words[0], words[1], words[2], words[3], words[4], words[5]);
		memset(words, 0, sizeof words);
		count = 0;
	}
	return sum == 1;
}
