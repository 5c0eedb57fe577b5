// What LLVM makes of OpenCL C.
#pragma OPENCL EXTENSION cl_khr_byte_addressable_store : enable
typedef float Four __attribute__((ext_vector_type(4)));
#define THREAD __nvvm_read_ptx_sreg_tid_x()

__attribute__((noinline)) static long far(__global long *x, long n)
{
	if (n == 1000)
		__builtin_trap();
	return n < 3 ? n : x[n % 7] + far(x, n - 2);
}

__kernel void scale(__global Four *x, __global short *s, __global char *c, float by)
{
	int i = THREAD;

	x[i] = x[i] * by;
	s[i] = (short)(s[i] * 2);
	c[i] = (char)(c[i] + s[i]);
}

__kernel void walk(__global long *x, long n)
{
	__local long sums[32];

	sums[THREAD] = far(x + 1, n + THREAD);
	__syncthreads();
	if (THREAD == 0)
		for (int i = 0; i < 32; i++)
			x[0] += sums[i];
}
