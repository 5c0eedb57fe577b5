// Ways to go: a jump table, recursion, calls through pointers, ends in odd places, printf, assert, trap.
#include <cassert>
#include <cstdio>

__global__ void choose(int *x)
{
	int v = x[threadIdx.x];

	switch (v) {
	case 0: v = 17; break;
	case 1: v = v * x[0] + 3; break;
	case 2: x[40 + threadIdx.x] = 5; return;
	case 3: v = x[v] ^ 99; break;
	case 4: v = -v; break;
	case 5: v = v << 3; break;
	case 6: v = x[6] / 3; break;
	default: v += 1000;
	}
	x[threadIdx.x] = v;
}

__device__ __noinline__ int depth(int n, int *x)
{
	if (n <= 1)
		return 1;
	atomicAdd(x, n);
	return n * depth(n - 1, x) + 1;
}

__global__ void recursive(int *x)
{
	x[1 + threadIdx.x] = depth(threadIdx.x % 6, x);
}

typedef int (*Operation)(int, int);
__device__ __noinline__ int plus(int a, int b) { return a + b; }
__device__ __noinline__ int minus(int a, int b) { return a - b; }
__device__ Operation table[2] = { plus, minus };

__global__ void pointers(int *x)
{
	x[threadIdx.x] = table[threadIdx.x & 1](x[threadIdx.x], 7);
}

__global__ void says(int *x, int n)
{
	int i = threadIdx.x;

	assert(x[i] >= 0);
	if (i == 3)
		printf("x[%d] = %d\n", i, x[i]);
	if (x[i] > 1 << 30)
		__trap();
	if (i < n)
		asm volatile("exit;");
	asm volatile("{ .reg .pred p; setp.gt.s32 p, %0, 20; @p ret; }" ::"r"(i));
	x[i] = -1;
}

__global__ void locals(int *x, int n)
{
	int a[40];

	for (int i = 0; i < 40; i++)
		a[i] = x[i] * 3;
	for (int i = 0; i < 40; i++)
		x[i] += a[(i * n + threadIdx.x) % 40];
}
