// What lanes do together: shuffles, votes, matches, cooperative groups, warp sums, half and 64-bit atomics.
#include <cooperative_groups.h>
#include <cuda_fp16.h>
namespace cg = cooperative_groups;

__global__ void warpsum(const int *x, int *out)
{
	int v = x[blockIdx.x * blockDim.x + threadIdx.x];

	for (int d = 16; d; d /= 2)
		v += __shfl_down_sync(0xffffffff, v, d);
	if (!(threadIdx.x & 31))
		atomicAdd(out, v);
}

__global__ void votes(const int *x, unsigned *out)
{
	int v = x[threadIdx.x];

	out[threadIdx.x] = __ballot_sync(0xffffffff, v & 1);
	if (v % 3 == 0)
		out[64 + threadIdx.x] = __activemask() + __match_any_sync(__activemask(), v % 4);
}

__global__ void groups(const int *x, int *out)
{
	cg::thread_block block = cg::this_thread_block();
	auto tile = cg::tiled_partition<8>(block);
	int v = x[block.thread_rank()];

	for (int d = tile.size() / 2; d; d /= 2)
		v += tile.shfl_xor(v, d);
	if (!tile.thread_rank())
		out[block.thread_rank() / 8] = v;
	block.sync();
	if (v > 0 && cg::coalesced_threads().thread_rank() == 0)
		atomicMax(out + 30, v);
}

__global__ void gridwide(int *x, int *out)
{
	cg::grid_group grid = cg::this_grid();

	atomicAdd(x, 1);
	grid.sync();
	out[grid.thread_rank()] = x[0];
}

__global__ void halves(__half *x, __half2 *y, unsigned long long *z, double *w, short *s)
{
	atomicAdd(x, __float2half(1.5f));
	atomicAdd(y, __floats2half2_rn(0.5f, 2.0f));
	atomicMin(z, (unsigned long long)threadIdx.x + 5);
	atomicExch(z + 1, clock64() * 0 + 9);
	atomicCAS(z + 2, 3ull, 44ull);
	atomicAdd(w, 0.25);
	s[threadIdx.x] = (short)(s[threadIdx.x] * 3);
}
