// The second local function of one name; see tests/targets/picker.c.
static __attribute__((noinline, noclone)) int same(int n)
{
	__asm__ volatile("");
	return n * 2;
}

int twin(int n)
{
	return same(n) + 1;
}
