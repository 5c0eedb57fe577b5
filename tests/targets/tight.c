// System calls without room for a jump, before or behind them: tight ROUNDS [trap | null]. Protocol of loop.c.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Packed between functions: a call as the C libraries make those that can be cancelled, with two callers; and one that
// is entered at the call itself.
__asm__(".text\n.balign 64\n.type inner, @function\ninner:\n\tmov %edi, %eax\n\tmov %r11, 8(%rsp)\n\tsyscall\n\tret\n"
	".size inner, . - inner\n"
	".type tight, @function\ntight:\n\tsub $24, %rsp\n\tcall inner\n\tadd $24, %rsp\n\tret\n.size tight, . - tight\n"
	".type other, @function\nother:\n\tsub $24, %rsp\n\tcall inner\n\tadd $24, %rsp\n\tret\n.size other, . - other\n"
	".type after, @function\nafter:\n\tret\n.size after, . - after\n"
	".type again, @function\nagain:\n\tmov %edi, %eax\n1:\tsyscall\n\ttest %rax, %rax\n\tjs 1b\n\tret\n"
	".size again, . - again\n.type last, @function\nlast:\n\tret\n.size last, . - last\n");
long tight(long number), other(long number), again(long number);
void after(void), last(void);

static volatile int hits;

static void on_trap(int number)
{
	(void)number;
	hits++;
}

int main(int argc, char **argv)
{
	long rounds = atol(argv[1]), wrong = 0, pid;
	char line[8];

	if (argc > 2 && !strcmp(argv[2], "trap"))
		signal(SIGTRAP, on_trap);
	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin))
		return 1;
	pid = other(110);
	for (long i = 0; i < rounds; i++) {
		wrong += tight(110) != pid;
		wrong += again(110) != pid;
	}
	after();
	last();
	if (argc > 2 && !strcmp(argv[2], "null"))
		((void (*)(void))(long)(argc - 3))();
	printf("wrong %ld\nrounds %ld\ndone\n", wrong, rounds);
	fflush(stdout);
	return !fgets(line, sizeof line, stdin) && wrong;
}
