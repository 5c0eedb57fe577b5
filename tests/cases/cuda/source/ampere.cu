// sm_80: asynchronous copies, tensor cores, warp reductions.
#include <cuda_pipeline.h>
#include <mma.h>
using namespace nvcuda;

__global__ void staged(const float4 *x, float *out)
{
	__shared__ float4 s[64];

	__pipeline_memcpy_async(&s[threadIdx.x], &x[threadIdx.x], 16);
	__pipeline_commit();
	__pipeline_wait_prior(0);
	__syncthreads();
	out[threadIdx.x] = s[63 - threadIdx.x].y;
}

__global__ void __launch_bounds__(128, 2) tensor(const half *a, const half *b, float *c)
{
	wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> x;
	wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> y;
	wmma::fragment<wmma::accumulator, 16, 16, 16, float> z;

	wmma::fill_fragment(z, 0.0f);
	wmma::load_matrix_sync(x, a, 16);
	wmma::load_matrix_sync(y, b, 16);
	wmma::mma_sync(z, x, y, z);
	wmma::store_matrix_sync(c, z, 16, wmma::mem_row_major);
}

__global__ void redux(const unsigned *x, unsigned *out)
{
	out[threadIdx.x] = __reduce_add_sync(0xffffffff, x[threadIdx.x]) + __reduce_max_sync(0xffffffff, x[threadIdx.x]);
}
