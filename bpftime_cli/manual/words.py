"""What the manual page says beside the commands: tables and paragraphs, in its order."""

from __future__ import annotations

DESCRIPTION = """bpftime runs small programs inside other programs, where their functions are entered
and left. A program is a script in bpftrace's language or an eBPF object made by clang. It is verified,
compiled to machine code for exactly this place and written into the running process; what it counts
lies in shared memory and is printed here. No root and no kernel eBPF is needed: whoever may debug a
process may trace it."""

LANGUAGE = """The language is bpftrace's. A script is a list of probes with an optional predicate and a body:
uprobe:libc.so.6:malloc /arg0 > 64/ { @[comm] = count(); }. Names may hold wildcards, a function may be
followed by +OFFSET, and an address may stand in its place. Variables begin with $, maps with @. There are
if, for over ranges and maps, while, unroll, macro, fn, import, comptime, structures of C and of debug info,
and the config block. Beyond bpftrace: in a return probe entry.arg0 to entry.arg5, the arguments as the call
began, and elapsed_call, the nanoseconds that it took; with --unsafe override(VALUE) at an entry, which leaves
the function out, and setret(VALUE) at a return."""

FORMATS = """text is bpftrace's text. json is one object a line with "type" and "data", spelled as
bpftrace spells it. Data goes to standard output or to the file of -o, everything else to standard
error."""

SCRIPTS = """Scripts that are found by their name where no such file exists: bpftime trace NAME.
bpftime trace --help-script NAME prints what one does, --help-script all lists them.
"""
EXAMPLES = (
    ("Allocations by program", "bpftime trace -e 'uprobe:libc.so.6:malloc { @[comm] = count(); }' -- ls /"),
    ("Sizes of reads", "bpftime trace -e 'uprobe:libc.so.6:read { @ = hist(arg2); }' -- cat /etc/passwd"),
    (
        "Results of reads",
        "bpftime trace -e 'uretprobe:libc.so.6:read { @[retval] = count(); }' -- cat /etc/passwd",
    ),
    (
        "Time in a function",
        "bpftime trace -e 'uprobe:libc.so.6:fopen { @t[tid] = nsecs; } "
        "uretprobe:libc.so.6:fopen /@t[tid]/ { @ns = hist(nsecs - @t[tid]); delete(@t[tid]); }' -- ls /",
    ),
    (
        "Names of variables that are read",
        "bpftime trace -q -e 'uprobe:libc.so.6:getenv { printf(\"%s\\n\", str(arg0)); }' -- ls",
    ),
    (
        "A running process, for a second",
        "bpftime trace -e 'uprobe:libc.so.6:malloc { @ = hist(arg0); }' -p 4242 --duration 1s",
    ),
    (
        "Every second, from zero",
        "bpftime trace -i 1s --clear -e 'uprobe:libc.so.6:malloc { @ = count(); }' -p 4242",
    ),
    ("For a program to read", "bpftime trace -f json -e 'uprobe:libc.so.6:malloc { @ = count(); }' -- ls"),
    ("Which functions there are", "bpftime list 'uprobe:libc.so.6:*alloc*'"),
    ("An eBPF object, left in place", "bpftime load count.bpf.o --detached -p 4242"),
    ("What was left in place", "bpftime list"),
    ("Take it all out", "bpftime detach --all"),
)

EXIT_STATUS = (
    ("0", "the end was normal, after the probes were armed"),
    (
        "1",
        "the program was refused: syntax, type, verifier, no such probe or symbol, bad ELF; or an I/O error",
    ),
    ("2", "wrong usage"),
    ("3", "the process cannot be reached: no such PID, no permission, another architecture"),
    ("4", "a condition of --fail-on held"),
    ("70", "a bug in bpftime; the name of a file with the details is printed"),
    ("126, 127", "the command to launch cannot be executed, or was not found"),
    ("130, 143", "ended by SIGINT or SIGTERM before the probes were armed, or by a second Ctrl-C"),
)

PERMISSIONS = """Own processes only, unless root. A launch (-c, --) needs nothing: the agent comes in by
LD_PRELOAD, which programs with set-user-ID and static ones ignore. A running process (-p) needs the
right to ptrace it once: with /proc/sys/kernel/yama/ptrace_scope 0, or 1 and a descendant of this
command, or CAP_SYS_PTRACE."""

ENVIRONMENT = (
    ("BPFTIME_SESSION", "name of the session, where --session does not say it"),
    (
        "BPFTIME_MAX_STRLEN and the other configuration variables",
        "as in bpftrace; BPFTRACE_ names are read too, ours win",
    ),
    ("BPFTIME_DEBUG", "with a bug: print the traceback instead of writing it to a file"),
    (
        "NO_COLOR, CLICOLOR_FORCE, FORCE_COLOR, TERM",
        "whether messages have colour, where --color does not say it",
    ),
    ("XDG_RUNTIME_DIR, XDG_CACHE_HOME", "where sessions and compiled programs lie"),
    ("CC", "the compiler for the agent in a source tree"),
    ("__BPFTRACE_NOTIFY_PROBES_ATTACHED", "print this name on standard output when all probes are armed"),
)

SIGNALS = (
    (
        "SIGINT, SIGTERM, SIGHUP",
        "the normal end: probes are taken out, END runs, maps are printed; a second one ends at once",
    ),
    ("SIGKILL", "probes count on into memory that nobody reads; the next `bpftime list` takes them out"),
)

FILES = (
    (
        "$XDG_RUNTIME_DIR/bpftime, else /dev/shm/bpftime-UID",
        "sessions: shared memory and its description, for the owner only",
    ),
    (
        "$XDG_CACHE_HOME/bpftime, else ~/.cache/bpftime",
        "compiled programs, by content; may be removed at any time",
    ),
)

DIFFERENCES = """`trace` stands in front, and a script with function probes needs a target. No blank
lines before the maps at the end. Wrong usage gives status 2, not 1. Kernel probes (kprobe, fentry, and
tracepoints but those of system calls) are refused."""

BUGS = """Linux on x86-64 only. 32-bit programs cannot be traced, static ones only with -p. A function
that is too short for a jump and has no padding near it is left out with a warning. Between the kill of
a tracer and the next command its probes stay in place and cost what they cost."""
