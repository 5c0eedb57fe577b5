// What programs for GPU kernels call, as bpftime declares it.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;

#define GPU_HASH 1501
#define PER_THREAD_ARRAY 1502
#define GPU_ARRAY 1503
#define GPU_RINGBUF 1527

static const int (*gpu_puts)(const char *) = (void *)501;
static const u64 (*get_globaltimer)(void) = (void *)502;
static const int (*get_block_idx)(u64 *, u64 *, u64 *) = (void *)503;
static const int (*get_block_dim)(u64 *, u64 *, u64 *) = (void *)504;
static const int (*get_thread_idx)(u64 *, u64 *, u64 *) = (void *)505;
static const int (*membar_sys)(void) = (void *)506;
static const int (*cuda_exit)(void) = (void *)507;
static const int (*get_grid_dim)(u64 *, u64 *, u64 *) = (void *)508;
static const u64 (*get_sm_id)(void) = (void *)509;
static const u64 (*get_warp_id)(void) = (void *)510;
static const u64 (*get_lane_id)(void) = (void *)511;

struct access {
	u64 addr;
	u32 size;
	u8 op, space;
	u16 flags;
	u64 data[2];
	u32 line, site;
};
