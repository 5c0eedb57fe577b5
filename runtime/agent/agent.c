// Life of the agent in one process: its state mapping, the process page, slots, and the two ways in.
//
// Nothing stays in a target but mappings: no thread, no descriptor. A preloaded agent serves its mailbox from
// the constructor until GO (or gives up after two seconds and the program runs unprobed); every later request
// is served by a thread that the tracer borrows. On any failure the program runs on as if nothing had happened.
#include "agent.h"

enum { MEMFD_CLOEXEC = 1, MADV_WIPEONFORK = 18, ARCH_GET_FS = 0x1003 };
enum { MEMBARRIER_REGISTER_SYNC_CORE = 1 << 6, MEMBARRIER_REGISTER_RSEQ = 1 << 8 };
enum { FUTEX_WAIT = 0, FUTEX_WAKE = 1, LOOK_NS = 500000000, MOST_QUIET = 60, SLOT_OTHERS = PROCESSES - 1 };

struct agent agent;

// The linker's names for the first and the last byte of the library.
extern const u8 __ehdr_start[] __attribute__((visibility("hidden")));
extern const u8 _end[] __attribute__((visibility("hidden")));

__attribute__((visibility("default"))) s64 agent_visit(u8 *inbox, u64 bytes);

static void *map_memfd(const char *name, u64 bytes, s64 flags, s32 *ret_fd)
{
	s64 fd = sys(SYS_MEMFD_CREATE, name, MEMFD_CLOEXEC);
	s64 at;

	if (is_error(fd))
		return 0;
	at = sys(SYS_FTRUNCATE, fd, bytes);
	if (!at)
		at = sys(SYS_MMAP, 0, bytes, PROT_R | PROT_W, flags, fd, 0);
	if (ret_fd && !is_error(at))
		*ret_fd = (s32)fd;
	else
		sys(SYS_CLOSE, fd);
	return is_error(at) ? 0 : (void *)at;
}

// glibc keeps the thread id at +720 of the thread block, musl at +48 (1.2) or +56 (1.1): struct pthread.
s32 agent_find_tid_offset(void)
{
	static const s32 places[] = { 720, 48, 56 };
	u64 base = 0;
	u32 tid = (u32)sys(SYS_GETTID);

	if (sys(SYS_ARCH_PRCTL, ARCH_GET_FS, &base) || !base)
		return 0;
	for (u32 i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (*(u32 *)(base + (u64)places[i]) == tid)
			return places[i];
	return 0;
}

HELPER s64 agent_wait(const u32 *word, u32 value, const s64 *limit)
{
	u64 none = 0, *waits = agent.state ? (u64 *)((u8 *)agent.state + STATE_WAITS) : &none; // none in the tracer
	s64 err;

	__atomic_fetch_add(waits, 1, __ATOMIC_RELAXED);
	err = sys(SYS_FUTEX, word, 0, value, limit, 0, 0);
	__atomic_fetch_add(waits, 1, __ATOMIC_RELAXED);
	return err;
}

HELPER u32 agent_tid(void)
{
	u32 tid;

	if (!agent.tid_offset)
		return (u32)sys(SYS_GETTID);
	__asm__ volatile("movl %%fs:(%1), %0" : "=r"(tid) : "r"((s64)agent.tid_offset));
	return tid;
}

// Inode of this process's pid namespace: numbers of another one mean nothing to the tracer. 0 without /proc.
static u32 own_namespace(void)
{
	u64 stat[STAT_BYTES / 8];

	return sys(SYS_NEWFSTATAT, AT_FDCWD, "/proc/self/ns/pid", stat, 0) ? 0 : (u32)stat[STAT_INO / 8];
}

// The process page is wiped in a fork child: slots are claimed anew under the child's own pid.
static void process_refresh(void)
{
	for (u32 i = 0; i < MAX_REGIONS; i++) {
		struct state_region *r = (void *)((u8 *)agent.state + STATE_REGIONS);

		__atomic_store_n(&r[i].slot_live, 0, __ATOMIC_RELAXED);
	}
	agent.process->pid = (u32)sys(SYS_GETPID);
	agent.state->pid = agent.process->pid;
	((struct hooks *)((u8 *)agent.state + STATE_HOOKS))->ns_inode = own_namespace();
	__atomic_store_n(&agent.process->live, 1, __ATOMIC_RELEASE);
}

// Process id in its own namespace; what programs call when the process page says nothing.
HELPER u64 current_pid(void)
{
	if (!agent.state)
		return (u32)sys(SYS_GETPID); // the tracer itself
	if (!__atomic_load_n(&agent.process->live, __ATOMIC_ACQUIRE))
		process_refresh();
	return agent.process->pid;
}

static u32 claim_slot(struct region *region)
{
	struct process *table = (void *)((u8 *)region + region->process_table);

	for (u32 i = 1; i < region->process_count - 1; i++) {
		u32 free = 0;

		if (__atomic_load_n(&table[i].state, __ATOMIC_RELAXED) ||
		    !__atomic_compare_exchange_n(&table[i].state, &free, 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			continue;
		table[i].ns_pid = agent.process->pid;
		table[i].mail_fd = -1;
		__atomic_store_n(&table[i].state, 2, __ATOMIC_RELEASE);
		return i;
	}
	return SLOT_OTHERS;
}

HELPER u32 agent_slot(struct region *region)
{
	struct state_region *r;

	if (!agent.state)
		return 0; // the tracer itself
	if (!__atomic_load_n(&agent.process->live, __ATOMIC_ACQUIRE))
		process_refresh();
	r = (void *)((u8 *)agent.state + STATE_REGIONS);
	for (u32 i = 0; i < MAX_REGIONS; i++, r++) {
		if (r->base != (u64)region)
			continue;
		if (!__atomic_load_n(&r->slot_live, __ATOMIC_ACQUIRE)) {
			r->slot = claim_slot(region);
			__atomic_store_n(&r->slot_live, 1, __ATOMIC_RELEASE);
		}
		return r->slot;
	}
	return SLOT_OTHERS;
}

int agent_start(void)
{
	struct state *state;
	s64 page;

	if (agent.state)
		return 0;
	page = sys(SYS_MMAP, 0, 4096, PROT_R | PROT_W, PRIVATE | ANONYMOUS, -1, 0);
	if (is_error(page))
		return (int)page;
	sys(SYS_MADVISE, page, 4096, MADV_WIPEONFORK);
	state = map_memfd("bpftime.state", STATE_BYTES, PRIVATE, 0);
	if (!state)
		return -E_NOSPC;
	agent.process = (void *)page;
	agent.tid_offset = agent_find_tid_offset();
	sys(SYS_MEMBARRIER, MEMBARRIER_REGISTER_SYNC_CORE, 0);
	sys(SYS_MEMBARRIER, MEMBARRIER_REGISTER_RSEQ, 0);
	state->abi = BPFTIME_ABI;
	state->bytes = STATE_BYTES;
	state->tid_offset = agent.tid_offset;
	state->process_page = (u64)page;
	state->agent_base = (u64)__ehdr_start;
	state->agent_bytes = (u32)(_end - __ehdr_start);
	state->serve = (u64)agent_visit;
	copy_bytes(state->build_id, AGENT_HASH, sizeof(AGENT_HASH) < 20 ? sizeof(AGENT_HASH) : 20);
	agent.state = state;
	process_refresh();
	state->magic = STATE_MAGIC;
	return 0;
}

struct state_region *agent_find_region(const u8 id[16])
{
	struct state_region *r = (void *)((u8 *)agent.state + STATE_REGIONS);

	for (u32 i = 0; i < MAX_REGIONS; i++)
		if (r[i].base && same_bytes(r[i].session, id, 16))
			return &r[i];
	return 0;
}

int agent_map_region(const u8 id[16], u64 base, u64 bytes, u64 offset)
{
	struct state_region *r = (void *)((u8 *)agent.state + STATE_REGIONS);

	for (u32 i = 0; i < MAX_REGIONS; i++) {
		if (r[i].base)
			continue;
		copy_bytes(r[i].session, id, 16);
		r[i].bytes = bytes;
		r[i].offset = offset;
		r[i].slot_live = 0;
		r[i].base = base;
		agent.state->regions++;
		return 0;
	}
	return -E_NOSPC;
}

// --- launched with LD_PRELOAD ---

struct launch {
	u8 id[16];
	char region[128];
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// BPFTIME_AGENT=1;id=<32 hex>;region=<path>. Returns 0 or -1.
static int parse_launch(const char *value, const char *end, struct launch *ret)
{
	static const char head[] = "1;id=", middle[] = ";region=";
	u64 n;

	if (end - value < 5 + 32 + 8 + 1 || !same_bytes(value, head, 5) || !same_bytes(value + 37, middle, 8))
		return -1;
	for (u32 i = 0; i < 16; i++) {
		int high = hex_digit(value[5 + 2 * i]), low = hex_digit(value[6 + 2 * i]);

		if (high < 0 || low < 0)
			return -1;
		ret->id[i] = (u8)(high << 4 | low);
	}
	n = (u64)(end - (value + 45));
	if (n >= sizeof(ret->region))
		return -1;
	copy_bytes(ret->region, value + 45, n);
	ret->region[n] = 0;
	return 0;
}

// Frida's way in: a temporary thread of its own calls this with our text. The library must stay.
__attribute__((visibility("default"))) void agent_injected(const char *text, int *stay_resident, void *unused);

// The environment is read from /proc: musl hands none to constructors. A name may straddle two reads.
static int find_launch(struct launch *ret)
{
	static const char name[] = "BPFTIME_AGENT=";
	static char buffer[8192];
	u64 kept = 0;
	int found = -1;
	s64 fd = sys(SYS_OPEN, "/proc/self/environ", 0), got;

	if (is_error(fd))
		return -1;
	while (found && (got = sys(SYS_READ, fd, buffer + kept, sizeof(buffer) - kept)) > 0) {
		u64 have = kept + (u64)got, start = 0;

		for (u64 i = 0; i < have && found; i++) {
			if (buffer[i])
				continue;
			if (i - start > sizeof(name) && same_bytes(buffer + start, name, sizeof(name) - 1))
				found = parse_launch(buffer + start + sizeof(name) - 1, buffer + i, ret);
			start = i + 1;
		}
		kept = have - start < sizeof(buffer) / 2 ? have - start : 0;
		for (u64 i = 0; i < kept; i++)
			buffer[i] = buffer[have - kept + i];
	}
	sys(SYS_CLOSE, fd);
	return found;
}

// Opens the region and believes it only if magic, version and id match: the pid in its path may be reused.
static struct region *open_region(const struct launch *launch)
{
	s64 fd = sys(SYS_OPEN, launch->region, 02 | 02000000);
	struct region *region;
	u64 bytes;
	s64 at;

	if (is_error(fd))
		return 0;
	at = sys(SYS_MMAP, 0, 4096, PROT_R, SHARED, fd, 0);
	if (is_error(at)) {
		sys(SYS_CLOSE, fd);
		return 0;
	}
	region = (void *)at;
	bytes = region->bytes;
	if (region->magic != REGION_MAGIC || region->abi != BPFTIME_ABI || !same_bytes(region->id, launch->id, 16))
		bytes = 0;
	sys(SYS_MUNMAP, at, 4096);
	at = bytes ? sys(SYS_MMAP, 0, bytes, PROT_R | PROT_W, SHARED | NORESERVE, fd, 0) : -1;
	sys(SYS_CLOSE, fd);
	return is_error(at) ? 0 : (void *)at;
}

static void wait_turn(struct mailbox *box)
{
	s64 limit[2] = { 0, LOOK_NS };
	u32 seen = __atomic_load_n(&box->turn_down, __ATOMIC_ACQUIRE);

	if (seen != 1)
		sys(SYS_FUTEX, &box->turn_down, FUTEX_WAIT, seen, limit);
}

// Whether it is of use to wait on: our tracer lives, and we see its process (same pid namespace).
static int tracer_lives(const struct region *region)
{
	s64 err = sys(SYS_KILL, region->tracer_pid, 0);

	return !err || err == -E_PERM;
}

// Serve requests until GO. Without a word for two seconds the program goes on, later if the tracer is busy.
// Futexes are shared: no PRIVATE flag.
static void serve_mailbox(const struct region *region, struct mailbox *box, s32 fd)
{
	u32 quiet = 0, patience = 4;
	int go = 0;

	while (!go && quiet < patience) {
		wait_turn(box);
		if (__atomic_load_n(&box->turn_down, __ATOMIC_ACQUIRE) != 1) {
			quiet++;
			patience = tracer_lives(region) ? MOST_QUIET : 4;
			continue;
		}
		quiet = 0;
		if (fd >= 0)
			sys(SYS_CLOSE, fd);
		fd = -1;
		box->bytes_down = (u32)serve_frames((u8 *)box + MAIL_DOWN, box->bytes_down, (u8 *)box + MAIL_UP,
						    MAIL_BYTES - MAIL_UP, &go);
		__atomic_store_n(&box->turn_down, 2, __ATOMIC_RELEASE);
		sys(SYS_FUTEX, &box->turn_down, FUTEX_WAKE, 1);
	}
	if (fd >= 0)
		sys(SYS_CLOSE, fd);
}

static void connect(struct region *region, const struct launch *launch)
{
	struct process *table = (void *)((u8 *)region + region->process_table);
	struct mailbox *box;
	s32 fd = -1;
	u32 slot;

	if (agent_start() || agent_map_region(launch->id, (u64)region, region->bytes, 0))
		return;
	box = map_memfd("bpftime.mail", MAIL_BYTES, SHARED, &fd);
	if (!box)
		return;
	slot = agent_slot(region);
	if (slot != SLOT_OTHERS) {
		__atomic_store_n(&table[slot].mail_fd, fd, __ATOMIC_RELEASE);
		__atomic_fetch_add(&region->doorbell, 1, __ATOMIC_RELEASE);
		sys(SYS_FUTEX, &region->doorbell, FUTEX_WAKE, 1);
		serve_mailbox(region, box, fd);
		__atomic_store_n(&table[slot].mail_fd, -1, __ATOMIC_RELEASE);
	} else {
		sys(SYS_CLOSE, fd);
	}
	sys(SYS_MUNMAP, box, MAIL_BYTES);
}

__attribute__((constructor)) static void agent_preloaded(void)
{
	struct launch launch;
	struct region *region;

	if (agent.state || find_launch(&launch))
		return;
	region = open_region(&launch);
	if (region)
		connect(region, &launch);
}

void agent_injected(const char *text, int *stay_resident, void *unused)
{
	struct launch launch;
	struct region *region;
	u64 bytes = 0;

	(void)unused;
	*stay_resident = 1;
	while (text[bytes])
		bytes++;
	if (agent.state || parse_launch(text, text + bytes, &launch))
		return;
	region = open_region(&launch);
	if (region)
		connect(region, &launch);
}

// --- visited: a borrowed thread calls this with the inbox of the state ---

// `inbox` holds `bytes` of frames; replies are written to its second half. Returns bytes of replies or -errno.
__attribute__((visibility("default"))) s64 agent_visit(u8 *inbox, u64 bytes)
{
	int go = 0, err = agent_start();
	u32 mine, none = 0;
	s64 ret;

	if (err)
		return err;
	mine = (u32)sys(SYS_GETTID);
	for (u32 tries = 0; !__atomic_compare_exchange_n(&agent.state->lock_pid, &none, mine, 0, __ATOMIC_ACQUIRE,
							 __ATOMIC_RELAXED); tries++) {
		if (tries > 1000 || none == mine || sys(SYS_TGKILL, sys(SYS_GETPID), none, 0))
			break; // its owner is gone: the lock may be taken
		none = 0;
		sys(SYS_SCHED_YIELD);
	}
	agent.state->lock_pid = mine;
	ret = (s64)serve_frames(inbox, bytes, inbox + INBOX_BYTES / 2, INBOX_BYTES / 2, &go);
	__atomic_store_n(&agent.state->lock_pid, 0, __ATOMIC_RELEASE);
	return ret;
}
