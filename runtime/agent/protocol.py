"""The layouts that Python and the agent share, as one table; `protocol.h` is made from it.

Three kinds of memory: the *region* (shared by all processes of a session, data only), the *state* (private
to one target, found by later commands through its name in the memory map) and the *mailbox* (one target,
one tracer). All integers are little endian, offsets and sizes in bytes. `python -m runtime.agent.protocol`
prints the header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

ABI = 1
REGION_MAGIC = int.from_bytes(b"BPFTIME\0", "little")
STATE_MAGIC = int.from_bytes(b"BPFTSTA1", "little")
STATE_NAME = "bpftime.state"
MAIL_NAME = "bpftime.mail"
REGION_NAME = "bpftime.region"

CODES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "s32": "i", "s64": "q"}
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "s32": 4, "s64": 8}


@dataclass(frozen=True, slots=True)
class Field:
    """One member: `kind` is a key of `CODES`, or `char` for `count` raw bytes."""

    offset: int
    kind: str
    name: str
    count: int = 1

    @property
    def code(self) -> str:
        """Return the `struct` format of this member."""
        if self.kind in ("char", "bytes"):
            return f"<{self.count}s"
        return f"<{self.count}{CODES[self.kind]}" if self.count > 1 else f"<{CODES[self.kind]}"

    @property
    def size(self) -> int:
        """Return the member's size in bytes."""
        return self.count * SIZES.get(self.kind, 1)


class Layout:
    """A fixed structure: members by name, readable and writable in any buffer."""

    def __init__(self, name: str, size: int, text: str) -> None:
        self.name = name
        self.size = size
        self.fields: dict[str, Field] = {}
        for row in text.split(","):
            offset, kind, field = row.split()
            label, _, count = field.partition("[")
            self.fields[label] = Field(int(offset), kind, label, int(count.rstrip("]") or "1"))
        self._whole = struct.Struct(self._format())
        self._blank = {f.name: 0 if f.count == 1 and f.kind in CODES else b"" for f in self.fields.values()}

    def _format(self) -> str:
        """Return the `struct` format of all members; arrays of integers are raw bytes in it."""
        parts, at = ["<"], 0
        for field in self.fields.values():
            is_number = field.count == 1 and field.kind in CODES
            parts.append(f"{field.offset - at}x" + (CODES[field.kind] if is_number else f"{field.size}s"))
            at = field.offset + field.size
        return "".join([*parts, f"{self.size - at}x"])

    def get(self, buffer: memoryview | bytes | bytearray, name: str, base: int = 0) -> int:
        """Read an integer member of the structure at `base`."""
        field = self.fields[name]
        value: int = struct.unpack_from(field.code, buffer, base + field.offset)[0]
        return value

    def put(self, buffer: memoryview | bytearray, name: str, value: int | bytes, base: int = 0) -> None:
        """Write one member of the structure at `base`."""
        field = self.fields[name]
        struct.pack_into(field.code, buffer, base + field.offset, value)

    def text(self, buffer: memoryview | bytes | bytearray, name: str, base: int = 0) -> bytes:
        """Read a `char` or `bytes` member; `char` ends at the first NUL."""
        field = self.fields[name]
        start = base + field.offset
        raw = bytes(buffer[start : start + field.size])
        return raw.split(b"\0", 1)[0] if field.kind == "char" else raw

    def pack(self, **values: int | bytes) -> bytes:
        """Return the structure as bytes with the given members set and all else zero."""
        return self._whole.pack(*(self._blank | values).values())

    def unpack(self, buffer: memoryview | bytes | bytearray, base: int = 0) -> dict[str, int]:
        """Return all scalar integer members by name."""
        values = zip(self.fields, self._whole.unpack_from(buffer, base), strict=True)
        return {name: value for name, value in values if self._blank[name] == 0}


REGION = Layout(
    "region",
    4096,
    (
        "0 u64 magic,8 u32 abi,12 u32 header_bytes,16 u64 bytes,24 bytes id[16],40 u32 tracer_pid,44 u32 off,"
        "48 u64 tracer_start,56 u64 epoch,64 u64 top,72 u32 cpus,76 u32 cells,80 u64 process_table,"
        "88 u32 process_count,92 u32 process_size,96 u64 handler_table,104 u32 handler_count,"
        "108 u32 handler_size,112 u64 slot_table,120 u32 slot_count,124 u32 slot_size,128 u32 clock_seq,"
        "132 u32 clock_shift,136 u64 clock_tsc0,144 u64 clock_mult,152 s64 clock_mono0,160 s64 clock_boot0,"
        "168 s64 clock_tai0,192 u32 secret,196 u32 hash_seed,200 u64 cut_runs,216 u32 doorbell,"
        "224 u64 started_boot,232 u32 last_handler,236 u32 tracer_ns,256 char name[64]"
    ),
)
PROCESS = Layout(
    "process",
    64,
    (
        "0 u32 state,4 u32 pid,8 u32 ns_pid,12 u32 ns_inode,16 u64 start,24 u64 epoch,32 char comm[16],"
        "48 s32 mail_fd,52 u32 flags"
    ),
)
HANDLER = Layout("handler", 128, "0 u32 id,4 u8 kind,5 u8 state,6 u16 flags,8 char name[32]")
# What follows a handler's name, by kind; offsets from the start of the entry.
PROGRAM = Layout("program_handler", 128, "40 u32 type,44 u32 instructions,48 bytes sha256[32]")
MAP_ENTRY = Layout("map_handler", 128, "40 u64 header")
PERF_EVENT = Layout(
    "perf_event_handler",
    128,
    "40 u32 type,44 s32 pid,48 u64 offset,56 u64 ref_ctr,64 u64 text,72 u32 text_bytes",
)
LINK = Layout(
    "link_handler",
    128,
    (
        "40 u32 program,44 u32 event,48 u64 cookie,56 u32 slot,60 s32 error,64 u32 sites,68 u32 refused,"
        "72 u64 hits,80 u32 pid,84 u32 cost,88 u64 start"
    ),
)
THREAD_SLOT = Layout("thread_slot", 16, "0 u32 process,4 u32 tid,8 u64 fs_base")
MAILBOX = Layout(
    "mailbox", 4096, ("0 u32 turn_down,4 u32 bytes_down,8 u32 turn_up,12 u32 bytes_up,16 u32 up_owner_tid")
)
MAIL_DOWN = 4096
MAIL_UP = 4096 + (1 << 20)
MAIL_BYTES = 4096 + (2 << 20)

STATE = Layout(
    "state",
    128,
    (
        "0 u64 magic,8 u32 abi,12 u32 bytes,16 u64 agent_base,24 u64 serve,32 u32 pid,36 u32 flags,"
        "40 u64 start,48 u32 lock_pid,52 u32 sites,56 u32 arenas,60 u32 regions,64 u64 mailbox,"
        "72 u64 process_page,80 bytes build_id[20],100 s32 rseq_offset,104 s32 tid_offset,"
        "108 u32 agent_bytes,112 u64 landing,120 u64 inbox"
    ),
)
ARENA = Layout(
    "arena",
    32,
    "0 u64 base,8 u32 code_bytes,12 u32 data_bytes,16 u32 code_used,20 u32 data_used,24 u64 spare",
)
STATE_REGION = Layout(
    "state_region",
    48,
    "0 bytes session[16],16 u64 base,24 u64 bytes,32 u64 offset,40 u32 slot,44 u32 slot_live",
)
SITE = Layout(
    "site",
    64,
    (
        "0 u64 at,8 u64 hole,16 u32 thunk_offset,20 u8 kind,21 u8 width,22 u8 pushes,23 u8 flags,"
        "24 bytes live[8],32 bytes want[8],40 u32 probe,44 u32 index,48 u64 thunk,56 u32 link,60 u32 state"
    ),
)
THUNK = Layout(
    "thunk",
    64,
    (  # lies before each thunk, so that any tracer can take one out of a chain
        "0 bytes session[16],16 u32 link,20 u32 kind,24 u64 next,32 u64 base,40 u64 jump,"
        "48 u32 bytes,52 u32 inner,56 u64 semaphore"
    ),
)
HOOKS = Layout(
    "hooks",
    64,
    "0 u64 debug,8 u64 debug_slot,16 u32 wait_ms,20 u32 watches,24 u32 started,28 u32 ns_inode,"
    "32 u32 dispatches,36 u32 paused,40 u64 rows",
)
KNOCK = Layout(
    "knock", 64, "0 u32 state,4 u32 reason,8 u32 ns_pid,12 u32 ns_tid,16 u32 ns_inode,24 u64 argument"
)
CUDA_CALL = (
    Layout(  # one call that a thread makes for the tracer; function 0: a system call, its number first
        "cuda_call", 120, "0 u64 function,8 u32 flags,16 s64 result,24 u64 arguments[12]"
    )
)
CUDA_FRAME = Layout(  # on the stack of a thread in a hook; `arguments`: six registers; `words`: of its thunk
    "cuda_frame",
    2032,
    "0 u64 arguments,8 u64 words,16 u32 which,20 u32 count,24 u32 done,28 u32 spare,32 u64 reserved[10],"
    "112 bytes calls[1920]",
)
CUDA_SERVICE = Layout(  # of the thread that calls when no hook does; `turn`: address of a word in the region
    "cuda_service", 2064, "0 u64 region,8 u64 turn,16 u64 spare[2],32 bytes frame[2032]"
)
CUDA_STATE = Layout("cuda_state", 280, "0 u64 seen[32],256 u64 kernels,264 u64 mask,272 u64 names")
CUDA_NAMES = Layout("cuda_names", 16, "0 u64 used,8 u64 room")  # ahead of what is registered
CUDA_NAME = (
    Layout(  # a kernel that a program registers; `host`: the function that stands for it, `name`: address
        "cuda_name", 24, "0 u64 handle,8 u64 host,16 u64 name"
    )
)
CUDA_KERNEL = (
    Layout(  # of a table by handle; `instead`: what is launched; `probes`: bits of those that want it
        "cuda_kernel", 32, "0 u64 handle,8 u64 instead,16 u64 number,24 u64 probes"
    )
)
CUDA_LAUNCH = Layout(
    "cuda_launch",
    88,
    "0 u64 grid[3],24 u64 block[3],48 u64 shared,56 u64 stream,64 u64 kernel,72 u64 number,80 u64 duration",
)
FRAME = Layout("frame", 16, "0 u32 bytes,4 u16 opcode,6 u16 abi,8 u32 sequence,12 s32 status")
PROCESS_PAGE = Layout("process_page", 16, "0 u32 live,4 u32 pid,8 u32 slot,12 u32 spare")
SAMPLE = Layout(  # every: ns of CPU time between two, 0 where another event tells
    "sample_request", 48, "0 u64 thunk,8 u64 every,16 u64 period,24 u64 address,32 bytes session[16]"
)
DISPATCH_RANGES = 16
DISPATCH = Layout(  # ranges: calls from the first are not handed over, those from the others are not shown
    "dispatch_request",
    272,
    f"0 u64 on,8 u64 restorer,16 u64 ranges[{2 * DISPATCH_RANGES}]",
)
DISPATCH_ROW = Layout("dispatch_row", 16, "0 u64 thread,8 u8 selector")  # `thread`: its fs base
DISPATCH_ROWS = 4096
RANGE = Layout("range", 24, "0 u64 start,8 u64 end,16 u32 protection,20 u32 spare")

STATE_FAULTS = 2  # of the state's flags: the fault handler is installed
STATE_DETOURS = 8  # of the state's flags: there are sites without a jump
STATE_SAMPLES = 4  # of the state's flags: some program runs now and then
REGION_DESK = 1024  # where threads of targets announce what they are about to do: 48 entries
DESK_PLACES = 48
STATE_ARENAS = 128
STATE_REGIONS = 1152
STATE_HOOKS = 3456
STATE_CUDA = 3520
STATE_WAITS = 3808  # u64: how often threads have begun or ended a wait inside programs and hooks
STATE_SITES = 4096
CUDA_CALLS = 16  # of a frame
CUDA_MAIN = 1  # flag of a call: it is the hooked function itself; where it succeeds it does not run again
CUDA_MUST = 2  # flag of a call: where it fails, those behind it are not made
CUDA_HANDLE = 0x100  # in the form of a launch: its second argument is the handle, its first a CUlaunchConfig
CUDA_FRESH = 0x200  # in a frame's number: a handle that is launched and not known yet
CUDA_FIRST = 0x800  # in the form of a launch: this is the first program that sees it
CUDA_TIMED = 0x400  # in a frame's number: a launch whose end is wanted
CUDA_ANY = 0x80000000  # in the number of a hook: nobody is asked whose first argument is in `seen`
MAX_ARENAS = 32
MAX_REGIONS = 48
MAX_SITES = 65536
STATE_BYTES = STATE_SITES + MAX_SITES * 64
INBOX_BYTES = 4 << 20  # frames of a visit: requests in the first half, replies in the second
PROCESSES = 1024
HANDLERS = 6144
THREAD_SLOTS = 4096


class Op(IntEnum):
    """Opcodes of frames; a reply has the same opcode and sequence."""

    HELLO = 1
    MAP = 2
    ARENA = 3
    WRITE = 4
    RELINK = 5
    APPLY = 6
    REMOVE = 7
    SEMAPHORE = 8
    READ = 9
    CALL = 10
    FRAMES = 11
    GO = 12
    FORGET = 13
    FAULTS = 14
    SAMPLE = 15
    UNSAMPLE = 16
    DISPATCH = 18


class SiteKind(IntEnum):
    """How a site is patched; see `attachers/patch/site.py`."""

    NEAR5 = 1
    HOP2 = 2
    TAIL = 3
    FRIDA = 4  # hooked by Frida's Interceptor; the entry says so to every other tracer
    TRAP = 5  # one byte, int3; see detour.c
    PAGE = 6  # a system call as a call into page 0; see detour.c


class ThunkKind(IntEnum):
    """What a thunk does; their order at one site is told by `attachers/patch/chain.py`."""

    RUN = 1
    THROUGH = 2
    SWAP = 3
    OVERRIDE = 4
    CALL = 5  # before a system call
    CALL_SKIP = 6  # before one, and may leave it out
    CALL_MOVED = 7  # makes the call itself, just before the place where other thunks enter it


class SiteState(IntEnum):
    """Life of an entry of the state's site table."""

    FREE = 0
    ARMED = 1
    REMOVED = 2  # site restored, its hole may still be in use


class KnockState(IntEnum):
    """Life of a place at the desk: the target makes it WAITING, the tracer GO, the owner frees it."""

    FREE = 0
    TAKEN = 1
    WAITING = 2
    SEEN = 3
    GO = 4
    LATE = 5  # nobody came in time and the thread went on; the tracer frees it


class CudaTurn(IntEnum):
    """Whose turn it is at the thread that makes calls for the tracer."""

    IDLE = 0
    CALL = 1
    DONE = 2
    END = 3
    ENDED = 4


class KnockReason(IntEnum):
    """What a thread is about to do."""

    LOADED = 1  # libraries were loaded or unloaded, nothing of new ones has run
    UNLOADING = 2  # libraries are about to be unloaded
    EXEC = 3  # the process becomes another program
    EXEC_FAILED = 4
    CUDA = 5  # a function of the CUDA driver was called, or the calls that we have asked for are made


LAYOUTS = (
    REGION,
    PROCESS,
    HANDLER,
    THREAD_SLOT,
    MAILBOX,
    STATE,
    ARENA,
    STATE_REGION,
    SITE,
    THUNK,
    HOOKS,
    KNOCK,
    CUDA_CALL,
    CUDA_FRAME,
    CUDA_SERVICE,
    CUDA_STATE,
    CUDA_NAMES,
    CUDA_NAME,
    CUDA_KERNEL,
    CUDA_LAUNCH,
    FRAME,
    PROCESS_PAGE,
    SAMPLE,
    DISPATCH,
    DISPATCH_ROW,
    RANGE,
)
CONSTANTS = {
    "BPFTIME_ABI": ABI,
    "REGION_MAGIC": REGION_MAGIC,
    "STATE_MAGIC": STATE_MAGIC,
    "MAIL_DOWN": MAIL_DOWN,
    "MAIL_UP": MAIL_UP,
    "MAIL_BYTES": MAIL_BYTES,
    "STATE_FAULTS": STATE_FAULTS,
    "STATE_SAMPLES": STATE_SAMPLES,
    "DISPATCH_RANGES": DISPATCH_RANGES,
    "DISPATCH_ROWS": DISPATCH_ROWS,
    "STATE_DETOURS": STATE_DETOURS,
    "REGION_DESK": REGION_DESK,
    "DESK_PLACES": DESK_PLACES,
    "STATE_HOOKS": STATE_HOOKS,
    "STATE_ARENAS": STATE_ARENAS,
    "STATE_REGIONS": STATE_REGIONS,
    "STATE_CUDA": STATE_CUDA,
    "STATE_WAITS": STATE_WAITS,
    "STATE_SITES": STATE_SITES,
    "CUDA_CALLS": CUDA_CALLS,
    "CUDA_MAIN": CUDA_MAIN,
    "CUDA_MUST": CUDA_MUST,
    "CUDA_HANDLE": CUDA_HANDLE,
    "CUDA_FRESH": CUDA_FRESH,
    "CUDA_TIMED": CUDA_TIMED,
    "CUDA_FIRST": CUDA_FIRST,
    "CUDA_ANY": CUDA_ANY,
    "MAX_ARENAS": MAX_ARENAS,
    "MAX_REGIONS": MAX_REGIONS,
    "MAX_SITES": MAX_SITES,
    "STATE_BYTES": STATE_BYTES,
    "INBOX_BYTES": INBOX_BYTES,
    "PROCESSES": PROCESSES,
}


def _member(field: Field) -> str:
    kind = "u8" if field.kind in ("char", "bytes") else field.kind
    return f"\t{kind} {field.name}{f'[{field.count}]' if field.count > 1 else ''};"


def _struct(layout: Layout) -> str:
    """Return one C structure with explicit padding and assertions on offsets and size."""
    lines, at, pads = [f"struct {layout.name} {{"], 0, 0
    for field in layout.fields.values():
        if field.offset > at:
            lines.append(f"\tu8 pad{pads}[{field.offset - at}];")
            pads += 1
        lines.append(_member(field))
        at = field.offset + field.size
    if layout.size > at:
        lines.append(f"\tu8 pad{pads}[{layout.size - at}];")
    lines.append("};")
    lines.append(f'_Static_assert(sizeof(struct {layout.name}) == {layout.size}, "{layout.name}");')
    lines += [
        f'_Static_assert(__builtin_offsetof(struct {layout.name}, {f.name}) == {f.offset}, "{f.name}");'
        for f in layout.fields.values()
    ]
    return "\n".join(lines)


def header() -> str:
    """Return the text of `protocol.h`."""
    parts = [
        "// Made from protocol.py; change that file and run: python -m runtime.agent.protocol > protocol.h",
        "#pragma once",
        "typedef unsigned char u8;\ntypedef unsigned short u16;\ntypedef unsigned int u32;\n"
        "typedef unsigned long long u64;\ntypedef int s32;\ntypedef long long s64;",
    ]
    parts.append(
        "\n".join(
            f"#define {name} {value:#x}{'ULL' if value >> 31 else ''}" for name, value in CONSTANTS.items()
        )
    )
    enums = (
        (Op, "OP"),
        (SiteKind, "SITE"),
        (ThunkKind, "THUNK"),
        (SiteState, "SITE"),
        (KnockState, "KNOCK"),
        (KnockReason, "KNOCK"),
        (CudaTurn, "CUDA"),
    )
    for enum, prefix in enums:
        rows = ", ".join(f"{prefix}_{m.name} = {m.value}" for m in enum)
        parts.append(f"enum {{ {rows} }};")
    parts += [_struct(layout) for layout in LAYOUTS]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(header())
