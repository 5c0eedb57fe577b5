// Two parts of one program: nvcc -rdc=true; parts.fatbin holds both, after the machine code linked of them.
__device__ int other(int);

__global__ void whole(int *x)
{
	x[threadIdx.x] = other(x[threadIdx.x]);
}
