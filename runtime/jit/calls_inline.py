"""Helpers that are a few instructions: identity, clocks, arguments, override words, loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.ebpf.context import ARGUMENT_REGISTERS
from runtime.jit import context
from runtime.jit.convention import FRAMELESS
from runtime.types import ContextKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.jit.calls import Site

EINVAL, EOPNOTSUPP, E2BIG = -22, -95, -7
AT_CODE = 1 << 31  # of a walk's flags, see runtime/agent/stack.c
LOOP_LIMIT = 1 << 23
PROCESS_PID = 4  # offset in the process page
SESSION_START = 224  # offset in the region's header
CLOCKS = {5: (1, 0), 125: (7, 1), 208: (11, 2), 160: (6, -1)}  # helper → (clock id, base in the TSC clock)
FORCED_HZ = 250


def current_cpu(site: Site) -> str:
    """Give the number of the current CPU as an i64 below the number of possible ones."""
    code, unit = site.code, site.unit
    if unit.build.kind != "rseq":
        return site.invoke("current_cpu", [])
    unit.symbols.setdefault("rseq_offset", "rseq_offset")
    cpu = code.op('call i32 asm sideeffect "movl %fs:rseq_offset+4, $0", "=r,~{dirflag},~{fpsr},~{flags}"()')
    start, slow, done = code.label(), code.label(), code.label()
    wide = code.op(f"zext i32 {cpu} to i64")
    good = code.op(f"icmp ult i32 {cpu}, {unit.build.cpus}")
    code.add(f"br label %{start}")
    code.inner(start)
    code.split(good, done, slow)
    code.inner(slow)
    asked = site.invoke("current_cpu", [])
    code.add(f"br label %{done}")
    code.inner(done)
    return code.op(f"phi i64 [ {wide}, %{start} ], [ {asked}, %{slow} ]")


def thread_id(site: Site) -> str:
    """Give the thread id as an i64."""
    if site.unit.build.kind == "rseq":
        site.unit.symbols.setdefault("tid_offset", "tid_offset")
        tid = site.code.op('call i32 asm "movl %fs:tid_offset, $0", "=r,~{dirflag},~{fpsr},~{flags}"()')
        return site.code.op(f"zext i32 {tid} to i64")
    return site.code.op(f"and i64 {site.invoke('agent_tid', [])}, 4294967295")


def pid_tgid(site: Site) -> str:
    """Emit get_current_pid_tgid."""
    code = site.code
    page = code.at(site.unit.symbol("process", 16), PROCESS_PID)
    word = code.op(f"load i32, ptr {page}, align 4")
    known = code.op(f"zext i32 {word} to i64")
    start, slow, done = code.label(), code.label(), code.label()
    code.add(f"br label %{start}")
    code.inner(start)
    code.split(code.op(f"icmp ne i32 {word}, 0"), done, slow)
    code.inner(slow)  # a fork child: its page was wiped
    asked = site.invoke("current_pid", [])
    code.add(f"br label %{done}")
    code.inner(done)
    pid = code.op(f"phi i64 [ {known}, %{start} ], [ {asked}, %{slow} ]")
    return code.op(f"or i64 {code.op(f'shl i64 {pid}, 32')}, {thread_id(site)}")


def clock(site: Site) -> str:
    """Emit the ktime helpers."""
    number, base = CLOCKS[site.call.helper]
    if site.unit.build.clock == "tsc" and base >= 0:
        return site.invoke("clock_tsc", [site.unit.address("region"), str(base)])
    return site.invoke("clock_read", [str(number)])


def jiffies(site: Site) -> str:
    """Emit jiffies64 from the coarse monotonic clock."""
    return site.code.op(f"udiv i64 {site.invoke('clock_read', ['6'])}, {10**9 // FORCED_HZ}")


def _word(name: str) -> Callable[[Site], str]:
    def emit(site: Site) -> str:
        if site.unit.inputs.kind is ContextKind.MEMORY:
            return "0"
        return context.read(site.code, site.unit, name)

    return emit


def override(site: Site) -> str:
    """Emit override_return and set_retval: two words that the thunk looks at when the program is done."""
    if site.unit.inputs.kind in FRAMELESS:
        return str(EOPNOTSUPP)
    value = site.arg(2 if site.call.helper == 58 else 1)
    for name, text in (("override_value", value), ("override_flag", "1")):
        place = context.word_address(site.code, site.unit, name)
        site.code.add(f"store volatile i64 {text}, ptr {place}, align 8")
    return "0"


def entry_arg(site: Site) -> str:
    """Emit entry_arg: an argument (from 1) as it was when the call began, which the thunk has kept."""
    number = site.call.constants.get(1, 0) - 1
    if site.unit.inputs.kind is not ContextKind.URETPROBE or not 0 <= number < len(ARGUMENT_REGISTERS):
        return str(EINVAL)
    return context.read(site.code, site.unit, f"entry_arg{number}")


def call_ns(site: Site) -> str:
    """Emit call_ns: how long the call took; the thunk has kept when it began."""
    code, unit = site.code, site.unit
    if unit.inputs.kind is not ContextKind.URETPROBE:
        return str(EINVAL)
    if unit.build.clock == "tsc":
        start = context.read(code, unit, "entry_tsc")
        return site.invoke("clock_since", [unit.address("region"), start])
    return code.op(f"sub i64 {site.invoke('clock_read', ['1'])}, {context.read(code, unit, 'entry_ns')}")


def func_arg(site: Site) -> str:
    """Emit get_func_arg for the six arguments in registers."""
    code = site.code
    if site.unit.inputs.kind in FRAMELESS or site.unit.inputs.frame:
        return str(EINVAL)
    number, value = site.arg(2), "0"
    for index, name in enumerate(ARGUMENT_REGISTERS):
        here = code.op(f"icmp eq i64 {number}, {index}")
        value = code.op(f"select i1 {here}, i64 {context.read(code, site.unit, name)}, i64 {value}")
    code.add(f"store i64 {value}, ptr {site.pointer(3)}, align 1")
    good = code.op(f"icmp ult i64 {number}, {len(ARGUMENT_REGISTERS)}")
    return code.op(f"select i1 {good}, i64 0, i64 {EINVAL}")


def func_ret(site: Site) -> str:
    """Emit get_func_ret; only a return probe has a result."""
    kind = site.unit.inputs.kind
    value = "0"
    if kind is ContextKind.URETPROBE:
        value = context.read(site.code, site.unit, "rax")
    site.code.add(f"store i64 {value}, ptr {site.pointer(2)}, align 1")
    return "0" if kind is ContextKind.URETPROBE else str(EOPNOTSUPP)


def log2(site: Site) -> str:
    """Emit log2: the number of the highest bit that is set."""
    code = site.code
    some = code.op(f"or i64 {site.arg(1)}, 1")
    zeros = code.op(f"call i64 @llvm.ctlz.i64(i64 {some}, i1 true)")
    return code.op(f"xor i64 {zeros}, 63")


def agg_max(site: Site) -> str:
    """Emit agg_max: most calls do not raise the value and only load."""
    code, value = site.code, site.arg(2)
    place = site.pointer(1)
    flag = code.at(place, 8)
    raise_, check, mark, done = (code.label() for _ in range(4))
    now = code.op(f"load atomic i64, ptr {place} monotonic, align 8")
    code.split(code.op(f"icmp ugt i64 {value}, {now}"), raise_, check)
    code.inner(raise_)
    code.op(f"atomicrmw umax ptr {place}, i64 {value} monotonic, align 8")
    code.add(f"br label %{check}")
    code.inner(check)
    known = code.op(f"load atomic i64, ptr {flag} monotonic, align 8")
    code.split(code.op(f"icmp eq i64 {known}, 0"), mark, done)
    code.inner(mark)
    code.add(f"store atomic i64 1, ptr {flag} monotonic, align 8")
    code.add(f"br label %{done}")
    code.inner(done)
    return "0"


def frame(site: Site) -> str:
    """Emit frame; the memory is handed back when the program ends."""
    result = site.invoke("frame_enter", [site.arg(1)])
    site.code.add(f"store i64 {result}, ptr {site.unit.slot(site.code, 'scratch')}")
    return result


def session_start(site: Site) -> str:
    """Emit session_start."""
    region = site.unit.symbol("region", 4096)
    return site.code.op(f"load i64, ptr {site.code.at(region, SESSION_START)}, align 8")


def printk(site: Site) -> str:
    """Emit trace_printk and trace_vprintk: text into the session's ring, dropped where there is none."""
    code, unit = site.code, site.unit
    if EVENTS not in unit.maps:
        return "0"
    ring, region = unit.address(f"ring:{EVENTS}"), unit.address("region")
    if site.call.helper == TRACE_VPRINTK:
        words = code.op(f"lshr i64 {site.arg(4)}, 3")
        return site.invoke("trace_text", [ring, region, site.arg(1), site.arg(2), site.arg(3), words])
    name = f"%printk{site.index}"
    code.alloca(name, "[3 x i64]")
    for number in range(3):
        code.add(f"store i64 {site.arg(3 + number)}, ptr {code.at(name, 8 * number)}")
    return site.invoke("trace_text", [ring, region, site.arg(1), site.arg(2), code.number(name), "3"])


def stack(site: Site) -> str:
    """Emit get_stack: `stack_walk` takes the flags above the size, in one word."""
    if site.unit.inputs.kind in FRAMELESS:
        return str(EOPNOTSUPP)
    size = site.code.op(f"and i64 {site.arg(3)}, {(1 << 32) - 1}")
    flags = site.code.op(f"shl i64 {_stack_flags(site, 4)}, 32")
    how = site.code.op(f"or i64 {size}, {flags}")
    return site.invoke("stack_walk", [site.arg(2), how, *_registers(site)])


def stack_id(site: Site) -> str:
    """Emit get_stackid."""
    if site.unit.inputs.kind in FRAMELESS:
        return str(EOPNOTSUPP)
    head = site.unit.address(f"head:{site.known().name}")
    return site.invoke("stack_id", [head, _stack_flags(site, 3), *_registers(site)])


def _registers(site: Site) -> list[str]:
    """Give what a walk starts from, and the process's unwind tables."""
    start = [context.read(site.code, site.unit, name) for name in ("ip", "rbp", "rsp")]
    return [*start, site.unit.address("unwind")]


def _stack_flags(site: Site, number: int) -> str:
    """Give a program's flags; ours says that the first address is where code runs, no return address."""
    if site.unit.inputs.kind is ContextKind.URETPROBE:
        return site.arg(number)
    return site.code.op(f"or i64 {site.arg(number)}, {AT_CODE}")


def loop(site: Site) -> str:
    """Emit bpf_loop: the callback runs until it gives something else than 0."""
    code = site.code
    count, data = site.arg(1), site.arg(3)
    head, body, done, start, wrong = (code.label() for _ in range(5))
    code.add(f"br label %{start}")
    code.inner(start)
    flags = site.arg(4)
    small = code.op(f"icmp ule i64 {count}, {LOOP_LIMIT}")
    legal = code.op(f"icmp eq i64 {flags}, 0")
    both = code.op(f"and i1 {small}, {legal}")
    error = code.op(f"select i1 {legal}, i64 {E2BIG}, i64 {EINVAL}")
    code.split(both, head, wrong)
    code.inner(wrong)
    code.add(f"br label %{done}")
    code.inner(head)
    step, after = code.name(), code.name()
    phi = len(code.lines)
    code.add("")
    more = code.op(f"icmp ult i64 {step}, {count}")
    code.split(more, body, done)
    code.inner(body)
    code.add(f"{after} = add i64 {step}, 1")
    stops = [(f"{error}", wrong), (step, head), (after, body)]
    if site.index in site.unit.verified.fuel_edges:
        stops[2] = (after, _burn(site, (step, done), stops))
    target = f"@sub_{site.call.callback}"
    result = code.op(
        f"call preserve_mostcc i64 {target}(i64 {step}, i64 {data}, i64 0, i64 0, i64 0, ptr %cx)"
    )
    go_on = code.op(f"icmp eq i64 {result}, 0")
    code.split(go_on, head, done)
    # The back edge comes from the block that holds the call, which is another one where fuel is counted.
    code.lines[phi] = f"{step} = phi i64 [ 0, %{start} ], [ {after}, %{stops[2][1]} ]"
    code.inner(done)
    return code.op("phi i64 " + ", ".join(f"[ {value}, %{label} ]" for value, label in stops))


def _burn(site: Site, stop: tuple[str, str], stops: list[tuple[str, str]]) -> str:
    """Take fuel for one run of a callback; without any the loop ends. Gives the block that goes on."""
    code, (step, done) = site.code, stop
    place = site.unit.slot(code, "fuel")
    left = code.op(f"sub i64 {code.op(f'load i64, ptr {place}')}, 1")
    code.add(f"store i64 {left}, ptr {place}")
    dry, go_on = code.label(), code.label()
    code.split(code.op(f"icmp slt i64 {left}, 0"), dry, go_on)
    code.inner(dry)
    site.unit.call(code, "fuel_out", [site.unit.address("region")], returns=False)
    code.add(f"br label %{done}")
    code.inner(go_on)
    stops.append((step, dry))
    return go_on


EVENTS = ".events"  # the map that holds the session's ring
TRACE_VPRINTK = 177
INLINE: dict[int, Callable[[Site], str]] = {
    6: printk,
    8: current_cpu,
    14: pid_tgid,
    58: override,
    27: stack_id,
    67: stack,
    118: jiffies,
    173: _word("func"),
    174: _word("cookie"),
    177: printk,
    181: loop,
    183: func_arg,
    184: func_ret,
    185: lambda _: "6",
    186: _word("override_value"),
    187: override,
    100008: entry_arg,
    100009: call_ns,
    100030: lambda site: site.unit.address(f"data:{site.call.constants[1] - 1}"),
    100027: lambda site: str(site.unit.build.cpus),
    100000: frame,
    100001: log2,
    100002: agg_max,
    100007: session_start,
    **dict.fromkeys(CLOCKS, clock),
}
