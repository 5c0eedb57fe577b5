// A library whose function `pick` has three versions, one the default, and `old` two without a default.
__asm__(".symver pick_1, pick@V1\n.symver pick_2, pick@V2\n.symver pick_3, pick@@V3");
__asm__(".symver old_1, old@V1\n.symver old_2, old@V2");

#define EXPORT __attribute__((visibility("default"), noinline, noclone))

EXPORT int pick_1(int n) { return n + 1; }
EXPORT int pick_2(int n) { return n * 2; }
EXPORT int pick_3(int n) { return n - 3; }
EXPORT int old_1(int n) { return n ^ 1; }
EXPORT int old_2(int n) { return n ^ 2; }
