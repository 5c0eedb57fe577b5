// Classes as parameters, for debug info; protocol of loop.c. typedpp CALLS.
#include <cstdio>
#include <cstdlib>

#define NOINLINE __attribute__((noinline, noclone))

namespace shop {
struct Base {
	int id;
	virtual ~Base() {}
};
struct Price { int cents; };
class Thing : public Base {
public:
	Price price;
	bool sold;
	NOINLINE int sell(int amount, const Price &at) { __asm__ volatile("" : "+r"(amount)); sold = true; return amount * at.cents + price.cents; }
};
struct Owner {
	int size;
	Owner(const Owner &other) : size(other.size + 1) {}
	explicit Owner(int size) : size(size) {}
	~Owner() {}
};
enum class Kind : unsigned char { Small, Large = 9 };
NOINLINE int give(Owner owner, Kind kind) { __asm__ volatile("" : "+m"(owner)); return owner.size + (int)kind; }
NOINLINE Owner take(int size) { return Owner(size); }
} // namespace shop

int main(int argc, char **argv)
{
	long calls = argc > 1 ? atol(argv[1]) : 1, sum = 0;
	shop::Thing thing;

	thing.id = 42;
	thing.price.cents = 250;
	thing.sold = false;
	puts("ready");
	fflush(stdout);
	getchar();
	for (long i = 0; i < calls; i++) {
		shop::Price at = {7};
		shop::Owner owner(3);

		sum += thing.sell((int)i + 1, at) + shop::give(owner, shop::Kind::Large) + shop::take(5).size;
	}
	printf("sum %ld\ndone\n", sum);
	fflush(stdout);
	getchar();
	return 0;
}
