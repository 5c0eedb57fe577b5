// Made from protocol.py; change that file and run: python -m runtime.agent.protocol > protocol.h

#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;

#define BPFTIME_ABI 0x1
#define REGION_MAGIC 0x454d4954465042ULL
#define STATE_MAGIC 0x3141545354465042ULL
#define MAIL_DOWN 0x1000
#define MAIL_UP 0x101000
#define MAIL_BYTES 0x201000
#define STATE_FAULTS 0x2
#define STATE_SAMPLES 0x4
#define DISPATCH_RANGES 0x10
#define DISPATCH_ROWS 0x1000
#define STATE_DETOURS 0x8
#define REGION_DESK 0x400
#define DESK_PLACES 0x30
#define STATE_HOOKS 0xd80
#define STATE_ARENAS 0x80
#define STATE_REGIONS 0x480
#define STATE_CUDA 0xdc0
#define STATE_WAITS 0xee0
#define STATE_SITES 0x1000
#define CUDA_CALLS 0x10
#define CUDA_MAIN 0x1
#define CUDA_MUST 0x2
#define CUDA_HANDLE 0x100
#define CUDA_FRESH 0x200
#define CUDA_TIMED 0x400
#define CUDA_FIRST 0x800
#define CUDA_ANY 0x80000000ULL
#define MAX_ARENAS 0x20
#define MAX_REGIONS 0x30
#define MAX_SITES 0x10000
#define STATE_BYTES 0x401000
#define INBOX_BYTES 0x400000
#define PROCESSES 0x400

enum { OP_HELLO = 1, OP_MAP = 2, OP_ARENA = 3, OP_WRITE = 4, OP_RELINK = 5, OP_APPLY = 6, OP_REMOVE = 7, OP_SEMAPHORE = 8, OP_READ = 9, OP_CALL = 10, OP_FRAMES = 11, OP_GO = 12, OP_FORGET = 13, OP_FAULTS = 14, OP_SAMPLE = 15, OP_UNSAMPLE = 16, OP_DISPATCH = 18 };

enum { SITE_NEAR5 = 1, SITE_HOP2 = 2, SITE_TAIL = 3, SITE_FRIDA = 4, SITE_TRAP = 5, SITE_PAGE = 6 };

enum { THUNK_RUN = 1, THUNK_THROUGH = 2, THUNK_SWAP = 3, THUNK_OVERRIDE = 4, THUNK_CALL = 5, THUNK_CALL_SKIP = 6, THUNK_CALL_MOVED = 7 };

enum { SITE_FREE = 0, SITE_ARMED = 1, SITE_REMOVED = 2 };

enum { KNOCK_FREE = 0, KNOCK_TAKEN = 1, KNOCK_WAITING = 2, KNOCK_SEEN = 3, KNOCK_GO = 4, KNOCK_LATE = 5 };

enum { KNOCK_LOADED = 1, KNOCK_UNLOADING = 2, KNOCK_EXEC = 3, KNOCK_EXEC_FAILED = 4, KNOCK_CUDA = 5 };

enum { CUDA_IDLE = 0, CUDA_CALL = 1, CUDA_DONE = 2, CUDA_END = 3, CUDA_ENDED = 4 };

struct region {
	u64 magic;
	u32 abi;
	u32 header_bytes;
	u64 bytes;
	u8 id[16];
	u32 tracer_pid;
	u32 off;
	u64 tracer_start;
	u64 epoch;
	u64 top;
	u32 cpus;
	u32 cells;
	u64 process_table;
	u32 process_count;
	u32 process_size;
	u64 handler_table;
	u32 handler_count;
	u32 handler_size;
	u64 slot_table;
	u32 slot_count;
	u32 slot_size;
	u32 clock_seq;
	u32 clock_shift;
	u64 clock_tsc0;
	u64 clock_mult;
	s64 clock_mono0;
	s64 clock_boot0;
	s64 clock_tai0;
	u8 pad0[16];
	u32 secret;
	u32 hash_seed;
	u64 cut_runs;
	u8 pad1[8];
	u32 doorbell;
	u8 pad2[4];
	u64 started_boot;
	u32 last_handler;
	u32 tracer_ns;
	u8 pad3[16];
	u8 name[64];
	u8 pad4[3776];
};
_Static_assert(sizeof(struct region) == 4096, "region");
_Static_assert(__builtin_offsetof(struct region, magic) == 0, "magic");
_Static_assert(__builtin_offsetof(struct region, abi) == 8, "abi");
_Static_assert(__builtin_offsetof(struct region, header_bytes) == 12, "header_bytes");
_Static_assert(__builtin_offsetof(struct region, bytes) == 16, "bytes");
_Static_assert(__builtin_offsetof(struct region, id) == 24, "id");
_Static_assert(__builtin_offsetof(struct region, tracer_pid) == 40, "tracer_pid");
_Static_assert(__builtin_offsetof(struct region, off) == 44, "off");
_Static_assert(__builtin_offsetof(struct region, tracer_start) == 48, "tracer_start");
_Static_assert(__builtin_offsetof(struct region, epoch) == 56, "epoch");
_Static_assert(__builtin_offsetof(struct region, top) == 64, "top");
_Static_assert(__builtin_offsetof(struct region, cpus) == 72, "cpus");
_Static_assert(__builtin_offsetof(struct region, cells) == 76, "cells");
_Static_assert(__builtin_offsetof(struct region, process_table) == 80, "process_table");
_Static_assert(__builtin_offsetof(struct region, process_count) == 88, "process_count");
_Static_assert(__builtin_offsetof(struct region, process_size) == 92, "process_size");
_Static_assert(__builtin_offsetof(struct region, handler_table) == 96, "handler_table");
_Static_assert(__builtin_offsetof(struct region, handler_count) == 104, "handler_count");
_Static_assert(__builtin_offsetof(struct region, handler_size) == 108, "handler_size");
_Static_assert(__builtin_offsetof(struct region, slot_table) == 112, "slot_table");
_Static_assert(__builtin_offsetof(struct region, slot_count) == 120, "slot_count");
_Static_assert(__builtin_offsetof(struct region, slot_size) == 124, "slot_size");
_Static_assert(__builtin_offsetof(struct region, clock_seq) == 128, "clock_seq");
_Static_assert(__builtin_offsetof(struct region, clock_shift) == 132, "clock_shift");
_Static_assert(__builtin_offsetof(struct region, clock_tsc0) == 136, "clock_tsc0");
_Static_assert(__builtin_offsetof(struct region, clock_mult) == 144, "clock_mult");
_Static_assert(__builtin_offsetof(struct region, clock_mono0) == 152, "clock_mono0");
_Static_assert(__builtin_offsetof(struct region, clock_boot0) == 160, "clock_boot0");
_Static_assert(__builtin_offsetof(struct region, clock_tai0) == 168, "clock_tai0");
_Static_assert(__builtin_offsetof(struct region, secret) == 192, "secret");
_Static_assert(__builtin_offsetof(struct region, hash_seed) == 196, "hash_seed");
_Static_assert(__builtin_offsetof(struct region, cut_runs) == 200, "cut_runs");
_Static_assert(__builtin_offsetof(struct region, doorbell) == 216, "doorbell");
_Static_assert(__builtin_offsetof(struct region, started_boot) == 224, "started_boot");
_Static_assert(__builtin_offsetof(struct region, last_handler) == 232, "last_handler");
_Static_assert(__builtin_offsetof(struct region, tracer_ns) == 236, "tracer_ns");
_Static_assert(__builtin_offsetof(struct region, name) == 256, "name");

struct process {
	u32 state;
	u32 pid;
	u32 ns_pid;
	u32 ns_inode;
	u64 start;
	u64 epoch;
	u8 comm[16];
	s32 mail_fd;
	u32 flags;
	u8 pad0[8];
};
_Static_assert(sizeof(struct process) == 64, "process");
_Static_assert(__builtin_offsetof(struct process, state) == 0, "state");
_Static_assert(__builtin_offsetof(struct process, pid) == 4, "pid");
_Static_assert(__builtin_offsetof(struct process, ns_pid) == 8, "ns_pid");
_Static_assert(__builtin_offsetof(struct process, ns_inode) == 12, "ns_inode");
_Static_assert(__builtin_offsetof(struct process, start) == 16, "start");
_Static_assert(__builtin_offsetof(struct process, epoch) == 24, "epoch");
_Static_assert(__builtin_offsetof(struct process, comm) == 32, "comm");
_Static_assert(__builtin_offsetof(struct process, mail_fd) == 48, "mail_fd");
_Static_assert(__builtin_offsetof(struct process, flags) == 52, "flags");

struct handler {
	u32 id;
	u8 kind;
	u8 state;
	u16 flags;
	u8 name[32];
	u8 pad0[88];
};
_Static_assert(sizeof(struct handler) == 128, "handler");
_Static_assert(__builtin_offsetof(struct handler, id) == 0, "id");
_Static_assert(__builtin_offsetof(struct handler, kind) == 4, "kind");
_Static_assert(__builtin_offsetof(struct handler, state) == 5, "state");
_Static_assert(__builtin_offsetof(struct handler, flags) == 6, "flags");
_Static_assert(__builtin_offsetof(struct handler, name) == 8, "name");

struct thread_slot {
	u32 process;
	u32 tid;
	u64 fs_base;
};
_Static_assert(sizeof(struct thread_slot) == 16, "thread_slot");
_Static_assert(__builtin_offsetof(struct thread_slot, process) == 0, "process");
_Static_assert(__builtin_offsetof(struct thread_slot, tid) == 4, "tid");
_Static_assert(__builtin_offsetof(struct thread_slot, fs_base) == 8, "fs_base");

struct mailbox {
	u32 turn_down;
	u32 bytes_down;
	u32 turn_up;
	u32 bytes_up;
	u32 up_owner_tid;
	u8 pad0[4076];
};
_Static_assert(sizeof(struct mailbox) == 4096, "mailbox");
_Static_assert(__builtin_offsetof(struct mailbox, turn_down) == 0, "turn_down");
_Static_assert(__builtin_offsetof(struct mailbox, bytes_down) == 4, "bytes_down");
_Static_assert(__builtin_offsetof(struct mailbox, turn_up) == 8, "turn_up");
_Static_assert(__builtin_offsetof(struct mailbox, bytes_up) == 12, "bytes_up");
_Static_assert(__builtin_offsetof(struct mailbox, up_owner_tid) == 16, "up_owner_tid");

struct state {
	u64 magic;
	u32 abi;
	u32 bytes;
	u64 agent_base;
	u64 serve;
	u32 pid;
	u32 flags;
	u64 start;
	u32 lock_pid;
	u32 sites;
	u32 arenas;
	u32 regions;
	u64 mailbox;
	u64 process_page;
	u8 build_id[20];
	s32 rseq_offset;
	s32 tid_offset;
	u32 agent_bytes;
	u64 landing;
	u64 inbox;
};
_Static_assert(sizeof(struct state) == 128, "state");
_Static_assert(__builtin_offsetof(struct state, magic) == 0, "magic");
_Static_assert(__builtin_offsetof(struct state, abi) == 8, "abi");
_Static_assert(__builtin_offsetof(struct state, bytes) == 12, "bytes");
_Static_assert(__builtin_offsetof(struct state, agent_base) == 16, "agent_base");
_Static_assert(__builtin_offsetof(struct state, serve) == 24, "serve");
_Static_assert(__builtin_offsetof(struct state, pid) == 32, "pid");
_Static_assert(__builtin_offsetof(struct state, flags) == 36, "flags");
_Static_assert(__builtin_offsetof(struct state, start) == 40, "start");
_Static_assert(__builtin_offsetof(struct state, lock_pid) == 48, "lock_pid");
_Static_assert(__builtin_offsetof(struct state, sites) == 52, "sites");
_Static_assert(__builtin_offsetof(struct state, arenas) == 56, "arenas");
_Static_assert(__builtin_offsetof(struct state, regions) == 60, "regions");
_Static_assert(__builtin_offsetof(struct state, mailbox) == 64, "mailbox");
_Static_assert(__builtin_offsetof(struct state, process_page) == 72, "process_page");
_Static_assert(__builtin_offsetof(struct state, build_id) == 80, "build_id");
_Static_assert(__builtin_offsetof(struct state, rseq_offset) == 100, "rseq_offset");
_Static_assert(__builtin_offsetof(struct state, tid_offset) == 104, "tid_offset");
_Static_assert(__builtin_offsetof(struct state, agent_bytes) == 108, "agent_bytes");
_Static_assert(__builtin_offsetof(struct state, landing) == 112, "landing");
_Static_assert(__builtin_offsetof(struct state, inbox) == 120, "inbox");

struct arena {
	u64 base;
	u32 code_bytes;
	u32 data_bytes;
	u32 code_used;
	u32 data_used;
	u64 spare;
};
_Static_assert(sizeof(struct arena) == 32, "arena");
_Static_assert(__builtin_offsetof(struct arena, base) == 0, "base");
_Static_assert(__builtin_offsetof(struct arena, code_bytes) == 8, "code_bytes");
_Static_assert(__builtin_offsetof(struct arena, data_bytes) == 12, "data_bytes");
_Static_assert(__builtin_offsetof(struct arena, code_used) == 16, "code_used");
_Static_assert(__builtin_offsetof(struct arena, data_used) == 20, "data_used");
_Static_assert(__builtin_offsetof(struct arena, spare) == 24, "spare");

struct state_region {
	u8 session[16];
	u64 base;
	u64 bytes;
	u64 offset;
	u32 slot;
	u32 slot_live;
};
_Static_assert(sizeof(struct state_region) == 48, "state_region");
_Static_assert(__builtin_offsetof(struct state_region, session) == 0, "session");
_Static_assert(__builtin_offsetof(struct state_region, base) == 16, "base");
_Static_assert(__builtin_offsetof(struct state_region, bytes) == 24, "bytes");
_Static_assert(__builtin_offsetof(struct state_region, offset) == 32, "offset");
_Static_assert(__builtin_offsetof(struct state_region, slot) == 40, "slot");
_Static_assert(__builtin_offsetof(struct state_region, slot_live) == 44, "slot_live");

struct site {
	u64 at;
	u64 hole;
	u32 thunk_offset;
	u8 kind;
	u8 width;
	u8 pushes;
	u8 flags;
	u8 live[8];
	u8 want[8];
	u32 probe;
	u32 index;
	u64 thunk;
	u32 link;
	u32 state;
};
_Static_assert(sizeof(struct site) == 64, "site");
_Static_assert(__builtin_offsetof(struct site, at) == 0, "at");
_Static_assert(__builtin_offsetof(struct site, hole) == 8, "hole");
_Static_assert(__builtin_offsetof(struct site, thunk_offset) == 16, "thunk_offset");
_Static_assert(__builtin_offsetof(struct site, kind) == 20, "kind");
_Static_assert(__builtin_offsetof(struct site, width) == 21, "width");
_Static_assert(__builtin_offsetof(struct site, pushes) == 22, "pushes");
_Static_assert(__builtin_offsetof(struct site, flags) == 23, "flags");
_Static_assert(__builtin_offsetof(struct site, live) == 24, "live");
_Static_assert(__builtin_offsetof(struct site, want) == 32, "want");
_Static_assert(__builtin_offsetof(struct site, probe) == 40, "probe");
_Static_assert(__builtin_offsetof(struct site, index) == 44, "index");
_Static_assert(__builtin_offsetof(struct site, thunk) == 48, "thunk");
_Static_assert(__builtin_offsetof(struct site, link) == 56, "link");
_Static_assert(__builtin_offsetof(struct site, state) == 60, "state");

struct thunk {
	u8 session[16];
	u32 link;
	u32 kind;
	u64 next;
	u64 base;
	u64 jump;
	u32 bytes;
	u32 inner;
	u64 semaphore;
};
_Static_assert(sizeof(struct thunk) == 64, "thunk");
_Static_assert(__builtin_offsetof(struct thunk, session) == 0, "session");
_Static_assert(__builtin_offsetof(struct thunk, link) == 16, "link");
_Static_assert(__builtin_offsetof(struct thunk, kind) == 20, "kind");
_Static_assert(__builtin_offsetof(struct thunk, next) == 24, "next");
_Static_assert(__builtin_offsetof(struct thunk, base) == 32, "base");
_Static_assert(__builtin_offsetof(struct thunk, jump) == 40, "jump");
_Static_assert(__builtin_offsetof(struct thunk, bytes) == 48, "bytes");
_Static_assert(__builtin_offsetof(struct thunk, inner) == 52, "inner");
_Static_assert(__builtin_offsetof(struct thunk, semaphore) == 56, "semaphore");

struct hooks {
	u64 debug;
	u64 debug_slot;
	u32 wait_ms;
	u32 watches;
	u32 started;
	u32 ns_inode;
	u32 dispatches;
	u32 paused;
	u64 rows;
	u8 pad0[16];
};
_Static_assert(sizeof(struct hooks) == 64, "hooks");
_Static_assert(__builtin_offsetof(struct hooks, debug) == 0, "debug");
_Static_assert(__builtin_offsetof(struct hooks, debug_slot) == 8, "debug_slot");
_Static_assert(__builtin_offsetof(struct hooks, wait_ms) == 16, "wait_ms");
_Static_assert(__builtin_offsetof(struct hooks, watches) == 20, "watches");
_Static_assert(__builtin_offsetof(struct hooks, started) == 24, "started");
_Static_assert(__builtin_offsetof(struct hooks, ns_inode) == 28, "ns_inode");
_Static_assert(__builtin_offsetof(struct hooks, dispatches) == 32, "dispatches");
_Static_assert(__builtin_offsetof(struct hooks, paused) == 36, "paused");
_Static_assert(__builtin_offsetof(struct hooks, rows) == 40, "rows");

struct knock {
	u32 state;
	u32 reason;
	u32 ns_pid;
	u32 ns_tid;
	u32 ns_inode;
	u8 pad0[4];
	u64 argument;
	u8 pad1[32];
};
_Static_assert(sizeof(struct knock) == 64, "knock");
_Static_assert(__builtin_offsetof(struct knock, state) == 0, "state");
_Static_assert(__builtin_offsetof(struct knock, reason) == 4, "reason");
_Static_assert(__builtin_offsetof(struct knock, ns_pid) == 8, "ns_pid");
_Static_assert(__builtin_offsetof(struct knock, ns_tid) == 12, "ns_tid");
_Static_assert(__builtin_offsetof(struct knock, ns_inode) == 16, "ns_inode");
_Static_assert(__builtin_offsetof(struct knock, argument) == 24, "argument");

struct cuda_call {
	u64 function;
	u32 flags;
	u8 pad0[4];
	s64 result;
	u64 arguments[12];
};
_Static_assert(sizeof(struct cuda_call) == 120, "cuda_call");
_Static_assert(__builtin_offsetof(struct cuda_call, function) == 0, "function");
_Static_assert(__builtin_offsetof(struct cuda_call, flags) == 8, "flags");
_Static_assert(__builtin_offsetof(struct cuda_call, result) == 16, "result");
_Static_assert(__builtin_offsetof(struct cuda_call, arguments) == 24, "arguments");

struct cuda_frame {
	u64 arguments;
	u64 words;
	u32 which;
	u32 count;
	u32 done;
	u32 spare;
	u64 reserved[10];
	u8 calls[1920];
};
_Static_assert(sizeof(struct cuda_frame) == 2032, "cuda_frame");
_Static_assert(__builtin_offsetof(struct cuda_frame, arguments) == 0, "arguments");
_Static_assert(__builtin_offsetof(struct cuda_frame, words) == 8, "words");
_Static_assert(__builtin_offsetof(struct cuda_frame, which) == 16, "which");
_Static_assert(__builtin_offsetof(struct cuda_frame, count) == 20, "count");
_Static_assert(__builtin_offsetof(struct cuda_frame, done) == 24, "done");
_Static_assert(__builtin_offsetof(struct cuda_frame, spare) == 28, "spare");
_Static_assert(__builtin_offsetof(struct cuda_frame, reserved) == 32, "reserved");
_Static_assert(__builtin_offsetof(struct cuda_frame, calls) == 112, "calls");

struct cuda_service {
	u64 region;
	u64 turn;
	u64 spare[2];
	u8 frame[2032];
};
_Static_assert(sizeof(struct cuda_service) == 2064, "cuda_service");
_Static_assert(__builtin_offsetof(struct cuda_service, region) == 0, "region");
_Static_assert(__builtin_offsetof(struct cuda_service, turn) == 8, "turn");
_Static_assert(__builtin_offsetof(struct cuda_service, spare) == 16, "spare");
_Static_assert(__builtin_offsetof(struct cuda_service, frame) == 32, "frame");

struct cuda_state {
	u64 seen[32];
	u64 kernels;
	u64 mask;
	u64 names;
};
_Static_assert(sizeof(struct cuda_state) == 280, "cuda_state");
_Static_assert(__builtin_offsetof(struct cuda_state, seen) == 0, "seen");
_Static_assert(__builtin_offsetof(struct cuda_state, kernels) == 256, "kernels");
_Static_assert(__builtin_offsetof(struct cuda_state, mask) == 264, "mask");
_Static_assert(__builtin_offsetof(struct cuda_state, names) == 272, "names");

struct cuda_names {
	u64 used;
	u64 room;
};
_Static_assert(sizeof(struct cuda_names) == 16, "cuda_names");
_Static_assert(__builtin_offsetof(struct cuda_names, used) == 0, "used");
_Static_assert(__builtin_offsetof(struct cuda_names, room) == 8, "room");

struct cuda_name {
	u64 handle;
	u64 host;
	u64 name;
};
_Static_assert(sizeof(struct cuda_name) == 24, "cuda_name");
_Static_assert(__builtin_offsetof(struct cuda_name, handle) == 0, "handle");
_Static_assert(__builtin_offsetof(struct cuda_name, host) == 8, "host");
_Static_assert(__builtin_offsetof(struct cuda_name, name) == 16, "name");

struct cuda_kernel {
	u64 handle;
	u64 instead;
	u64 number;
	u64 probes;
};
_Static_assert(sizeof(struct cuda_kernel) == 32, "cuda_kernel");
_Static_assert(__builtin_offsetof(struct cuda_kernel, handle) == 0, "handle");
_Static_assert(__builtin_offsetof(struct cuda_kernel, instead) == 8, "instead");
_Static_assert(__builtin_offsetof(struct cuda_kernel, number) == 16, "number");
_Static_assert(__builtin_offsetof(struct cuda_kernel, probes) == 24, "probes");

struct cuda_launch {
	u64 grid[3];
	u64 block[3];
	u64 shared;
	u64 stream;
	u64 kernel;
	u64 number;
	u64 duration;
};
_Static_assert(sizeof(struct cuda_launch) == 88, "cuda_launch");
_Static_assert(__builtin_offsetof(struct cuda_launch, grid) == 0, "grid");
_Static_assert(__builtin_offsetof(struct cuda_launch, block) == 24, "block");
_Static_assert(__builtin_offsetof(struct cuda_launch, shared) == 48, "shared");
_Static_assert(__builtin_offsetof(struct cuda_launch, stream) == 56, "stream");
_Static_assert(__builtin_offsetof(struct cuda_launch, kernel) == 64, "kernel");
_Static_assert(__builtin_offsetof(struct cuda_launch, number) == 72, "number");
_Static_assert(__builtin_offsetof(struct cuda_launch, duration) == 80, "duration");

struct frame {
	u32 bytes;
	u16 opcode;
	u16 abi;
	u32 sequence;
	s32 status;
};
_Static_assert(sizeof(struct frame) == 16, "frame");
_Static_assert(__builtin_offsetof(struct frame, bytes) == 0, "bytes");
_Static_assert(__builtin_offsetof(struct frame, opcode) == 4, "opcode");
_Static_assert(__builtin_offsetof(struct frame, abi) == 6, "abi");
_Static_assert(__builtin_offsetof(struct frame, sequence) == 8, "sequence");
_Static_assert(__builtin_offsetof(struct frame, status) == 12, "status");

struct process_page {
	u32 live;
	u32 pid;
	u32 slot;
	u32 spare;
};
_Static_assert(sizeof(struct process_page) == 16, "process_page");
_Static_assert(__builtin_offsetof(struct process_page, live) == 0, "live");
_Static_assert(__builtin_offsetof(struct process_page, pid) == 4, "pid");
_Static_assert(__builtin_offsetof(struct process_page, slot) == 8, "slot");
_Static_assert(__builtin_offsetof(struct process_page, spare) == 12, "spare");

struct sample_request {
	u64 thunk;
	u64 every;
	u64 period;
	u64 address;
	u8 session[16];
};
_Static_assert(sizeof(struct sample_request) == 48, "sample_request");
_Static_assert(__builtin_offsetof(struct sample_request, thunk) == 0, "thunk");
_Static_assert(__builtin_offsetof(struct sample_request, every) == 8, "every");
_Static_assert(__builtin_offsetof(struct sample_request, period) == 16, "period");
_Static_assert(__builtin_offsetof(struct sample_request, address) == 24, "address");
_Static_assert(__builtin_offsetof(struct sample_request, session) == 32, "session");

struct dispatch_request {
	u64 on;
	u64 restorer;
	u64 ranges[32];
};
_Static_assert(sizeof(struct dispatch_request) == 272, "dispatch_request");
_Static_assert(__builtin_offsetof(struct dispatch_request, on) == 0, "on");
_Static_assert(__builtin_offsetof(struct dispatch_request, restorer) == 8, "restorer");
_Static_assert(__builtin_offsetof(struct dispatch_request, ranges) == 16, "ranges");

struct dispatch_row {
	u64 thread;
	u8 selector;
	u8 pad0[7];
};
_Static_assert(sizeof(struct dispatch_row) == 16, "dispatch_row");
_Static_assert(__builtin_offsetof(struct dispatch_row, thread) == 0, "thread");
_Static_assert(__builtin_offsetof(struct dispatch_row, selector) == 8, "selector");

struct range {
	u64 start;
	u64 end;
	u32 protection;
	u32 spare;
};
_Static_assert(sizeof(struct range) == 24, "range");
_Static_assert(__builtin_offsetof(struct range, start) == 0, "start");
_Static_assert(__builtin_offsetof(struct range, end) == 8, "end");
_Static_assert(__builtin_offsetof(struct range, protection) == 16, "protection");
_Static_assert(__builtin_offsetof(struct range, spare) == 20, "spare");
