// Ways into a thunk that need no room for a jump: the code holds no distance, a table here says where it leads.
//
// A trap: one byte, int3; the handler of SIGTRAP goes on in the thunk. About a microsecond.
// A call into page 0: two bytes, `call rax` in the place of `syscall`. rax is the call's number, so whatever it is, the
// call lands in a slide of jumps at the very beginning of memory, behind which the return address is looked up. The
// return address overwrites 8 bytes below the stack pointer, which belong to the function; nothing else is changed.
//
// A row stays for as long as a thread may be on its way: once its site has its own bytes back, it leads there.
#include "signals.h"

enum { SIGTRAP_ = 5, MAX_DETOURS = 1024, PAGE = 4096, SLIDE = 512, HOP = 0x66 };
// A row lies at the low 16 bits of its address, or behind others that do. Hardly any page of the table is ever touched.
enum { ROWS = (1 << 16) + MAX_DETOURS + 1 };

struct detour {
	u64 minus; // the address at which a thread arrives, negated: the lookup can only add. 0: no row, and none behind
	u64 to;
};

struct detour *detours __attribute__((visibility("hidden")));
static u32 detour_count;

static void on_trap(int signal, void *info, void *context);
static struct taken trap = { .number = SIGTRAP_, .ours = on_trap };
static u32 has_trap, has_page;

// Reached from page 0 with the return address on the stack. rcx and r11 are free: `syscall` would overwrite them.
// No flag is changed. Where the table has no such row, somebody has called a null pointer: that ends as it would.
void page_entry(void);
__asm__(".text\n.type page_entry, @function\npage_entry:\n"
	"\tlea -128(%rsp), %rsp\n\tpush %rdx\n\tmov 136(%rsp), %rdx\n\tmov detours(%rip), %r11\n"
	"\tmovzwl %dx, %ecx\n\tlea (%r11,%rcx,8), %r11\n\tlea (%r11,%rcx,8), %r11\n"
	"1:\tmov (%r11), %rcx\n\tjrcxz 3f\n\tlea (%rcx,%rdx), %rcx\n\tjrcxz 2f\n\tlea 16(%r11), %r11\n\tjmp 1b\n"
	"2:\tpop %rdx\n\tlea 136(%rsp), %rsp\n\tjmp *8(%r11)\n"
	"3:\tpop %rdx\n\tlea 128(%rsp), %rsp\n\tmovabs $0x800000000000, %r11\n\tjmp *%r11\n"
	".size page_entry, . - page_entry\n");

static struct detour *row_of(u64 at)
{
	struct detour *row = detours + (u16)at;

	while (row->minus && row->minus != -at)
		row++;
	return row;
}

static void on_trap(int signal, void *info, void *context)
{
	u64 *ip = context_register(context, REG_RIP);
	struct detour *row = detours ? row_of(*ip - 1) : 0;

	(void)signal;
	if (row && row->minus)
		*ip = row->to;
	else
		signal_chain(&trap, info, context);
}

// Where a thread comes from when it arrives by way of a site.
static u64 arrival(const struct site *site)
{
	return site->kind == SITE_PAGE ? site->at + 2 : site->at;
}

static s32 open_page(void)
{
	u64 entry = (u64)page_entry;
	u8 *page = 0;
	s64 got;

	if (has_page)
		return 0;
	got = sys(SYS_MMAP, 0, PAGE, PROT_R | PROT_W, PRIVATE | ANONYMOUS | FIXED_NOREPLACE, -1, 0);
	if (is_error(got))
		return (s32)got;
	__asm__("" : "+r"(page)); // else the compiler knows what it is, and objects
	// eb 66: a jump over 0x66 bytes; entered at the second byte it is a prefix of the next jump.
	for (u32 i = 0; i < SLIDE + HOP + 2; i++)
		page[i] = i >= SLIDE ? 0x90 : i & 1 ? HOP : 0xeb;
	page += SLIDE + HOP + 2;
	copy_bytes(page, "\x49\xbb", 2); // mov r11, entry; jmp r11
	copy_bytes(page + 2, &entry, 8);
	copy_bytes(page + 10, "\x41\xff\xe3", 3);
	has_page = 1;
	return (s32)sys(SYS_MPROTECT, 0, PAGE, PROT_X); // where the processor can: not readable, so null still faults
}

static s32 open_table(void)
{
	s64 got;

	if (detours)
		return detour_count < MAX_DETOURS ? 0 : -E_NOSPC;
	got = sys(SYS_MMAP, 0, ROWS * sizeof *detours, PROT_R | PROT_W, PRIVATE | ANONYMOUS | NORESERVE, -1, 0);
	if (is_error(got))
		return (s32)got;
	detours = (struct detour *)got;
	return 0;
}

s32 detour_add(const struct site *site)
{
	struct detour *row;
	s32 err = open_table();

	if (err)
		return err;
	row = row_of(arrival(site));
	if (site->kind == SITE_PAGE)
		err = open_page();
	else if (!has_trap)
		signal_take(&trap);
	has_trap |= site->kind == SITE_TRAP;
	if (err)
		return err;
	detour_count += !row->minus;
	__atomic_store_n(&row->to, site->thunk, __ATOMIC_RELEASE);
	__atomic_store_n(&row->minus, -arrival(site), __ATOMIC_RELEASE);
	agent.state->flags |= STATE_DETOURS;
	return 0;
}

void detour_end(const struct site *site)
{
	struct detour *row = row_of(arrival(site));

	if (row->minus)
		__atomic_store_n(&row->to, site->at, __ATOMIC_RELEASE);
}

void detours_close(void)
{
	if (has_trap)
		signal_give_back(&trap);
	if (has_page)
		sys(SYS_MUNMAP, 0, PAGE);
	has_trap = has_page = 0;
	if (detours)
		sys(SYS_MUNMAP, detours, ROWS * sizeof *detours);
	detours = 0;
	detour_count = 0;
	agent.state->flags &= ~(u32)STATE_DETOURS;
}
