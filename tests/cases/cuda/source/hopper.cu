// sm_90: clusters, memory of other blocks, 128-bit atomics, bulk copies.
#include <cooperative_groups.h>
#include <cuda/barrier>
namespace cg = cooperative_groups;

__global__ void __cluster_dims__(2, 1, 1) neighbours(int *out)
{
	__shared__ int s[32];
	cg::cluster_group cluster = cg::this_cluster();

	s[threadIdx.x] = blockIdx.x * 100 + threadIdx.x;
	cluster.sync();
	out[blockIdx.x * 32 + threadIdx.x] = cluster.map_shared_rank(s, cluster.block_rank() ^ 1)[threadIdx.x];
	cluster.sync();
}

__global__ void wide(float4 *x, float4 *out)
{
	out[threadIdx.x] = atomicAdd(x, make_float4(1, 2, 3, 4));
}

__global__ void bulk(const int *x, int *out)
{
	__shared__ alignas(128) int s[128];
	__shared__ cuda::barrier<cuda::thread_scope_block> bar;

	if (!threadIdx.x)
		init(&bar, blockDim.x);
	__syncthreads();
	if (!threadIdx.x)
		cuda::memcpy_async(s, x, cuda::aligned_size_t<16>(sizeof(s)), bar);
	bar.arrive_and_wait();
	out[threadIdx.x] = s[threadIdx.x];
}
