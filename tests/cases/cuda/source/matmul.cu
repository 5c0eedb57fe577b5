// Tiled product of square matrices, and a kernel whose parameter is a whole structure.
#define TILE 16
struct Shape {
	int n;
	float scale;
	double bias;
};

__global__ void mm(const float *a, const float *b, float *c, int n)
{
	__shared__ float x[TILE][TILE], y[TILE][TILE];
	int row = blockIdx.y * TILE + threadIdx.y, column = blockIdx.x * TILE + threadIdx.x;
	float sum = 0;

	for (int t = 0; t < n / TILE; t++) {
		x[threadIdx.y][threadIdx.x] = a[row * n + t * TILE + threadIdx.x];
		y[threadIdx.y][threadIdx.x] = b[(t * TILE + threadIdx.y) * n + column];
		__syncthreads();
		for (int k = 0; k < TILE; k++)
			sum += x[threadIdx.y][k] * y[k][threadIdx.x];
		__syncthreads();
	}
	c[row * n + column] = sum;
}

template <int N> __global__ void scaled(double *x, const __grid_constant__ Shape shape)
{
	int i = blockIdx.x * N + threadIdx.x;

	if (i < shape.n)
		x[i] = x[i] * shape.scale + shape.bias;
}
template __global__ void scaled<32>(double *, const __grid_constant__ Shape);
template __global__ void scaled<64>(double *, const __grid_constant__ Shape);
