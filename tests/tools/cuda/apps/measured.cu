// Kernels whose cost with probes is measured; `measured.ptx` is made of this by
//   nvcc -ptx -arch=compute_75 measured.cu && sed -i "s/^\.version .*/.version 7.0/" measured.ptx
// No result depends on the order of threads, so results of two runs are compared bit for bit.
enum { TILE = 16, BLOCK = 256 };

extern "C" __global__ void vector_add(const float *a, const float *b, float *out, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		out[i] = a[i] + b[i];
}

extern "C" __global__ void matmul(const float *a, const float *b, float *out, int n)
{
	__shared__ float x[TILE][TILE], y[TILE][TILE];
	int row = blockIdx.y * TILE + threadIdx.y, column = blockIdx.x * TILE + threadIdx.x;
	float sum = 0;

	for (int k = 0; k < n; k += TILE) {
		x[threadIdx.y][threadIdx.x] = a[row * n + k + threadIdx.x];
		y[threadIdx.y][threadIdx.x] = b[(k + threadIdx.y) * n + column];
		__syncthreads();
		for (int j = 0; j < TILE; j++)
			sum += x[threadIdx.y][j] * y[j][threadIdx.x];
		__syncthreads();
	}
	out[row * n + column] = sum;
}

__device__ float folded(float *s, float mine, bool highest)
{
	s[threadIdx.x] = mine;
	__syncthreads();
	for (int k = BLOCK / 2; k; k /= 2) {
		if (threadIdx.x < k) {
			float other = s[threadIdx.x + k];
			s[threadIdx.x] = highest ? fmaxf(s[threadIdx.x], other) : s[threadIdx.x] + other;
		}
		__syncthreads();
	}
	mine = s[0];
	__syncthreads();
	return mine;
}

extern "C" __global__ void reduction(const float *a, const float *b, float *out, int n)
{
	__shared__ float s[BLOCK];
	int i = blockIdx.x * BLOCK + threadIdx.x;
	float sum = folded(s, i < n ? a[i] : 0, false);

	if (!threadIdx.x)
		out[blockIdx.x] = sum;
}

// A block makes a row of n.
extern "C" __global__ void softmax(const float *a, const float *b, float *out, int n)
{
	__shared__ float s[BLOCK];
	const float *row = a + (size_t)blockIdx.x * n;
	float highest = -3e38f, sum = 0;

	for (int i = threadIdx.x; i < n; i += BLOCK)
		highest = fmaxf(highest, row[i]);
	highest = folded(s, highest, true);
	for (int i = threadIdx.x; i < n; i += BLOCK)
		sum += exp2f(row[i] - highest);
	sum = folded(s, sum, false);
	for (int i = threadIdx.x; i < n; i += BLOCK)
		out[(size_t)blockIdx.x * n + i] = exp2f(row[i] - highest) / sum;
}

// What a graph launches many times, one behind the other.
extern "C" __global__ void small(const float *a, const float *b, float *out, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		out[i] = a[i] + 0.5f * b[i];
}
