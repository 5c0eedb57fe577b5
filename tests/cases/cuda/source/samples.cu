// Small kernels of everyday shape: vectors, shared memory, a function that may end the thread.
extern "C" __device__ __noinline__ float helper(float x, float *out)
{
	if (x < 0)
		asm volatile("exit;");
	*out = x;
	return x * 2;
}

__global__ void vecadd(const float *a, const float *b, float *c, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		c[i] = a[i] + b[i];
}

__global__ void copy4(const float4 *a, float4 *c, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i >= n)
		return;
	c[i] = a[i];
}

__global__ void reduce(float *x, float *out)
{
	extern __shared__ float s[];

	s[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
	__syncthreads();
	for (int k = blockDim.x / 2; k; k /= 2) {
		if (threadIdx.x < k)
			s[threadIdx.x] += s[threadIdx.x + k];
		__syncthreads();
	}
	if (!threadIdx.x)
		atomicAdd(out, s[0]);
}

__global__ void called(float *x, float *out)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	x[i] = helper(x[i], out + i);
}
