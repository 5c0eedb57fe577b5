"""The text of one pasted probe: the test of its bit, its inputs, its body.

Names of ours around a body: `%bt` + a name of `runtime.nvptx.body.INPUTS` for what bodies read, and `%btm`
mask, `%btt` test, `%btw %btv` 32, `%btx` 64, `%bth` 16 bits for the code here. Labels `$BTS` + a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from attachers.cuda.ptx.probe import KernelProbe
from runtime.nvptx.body import CONTEXT, SPACE, WIDE, Body

OUTSIDE = frozenset(("%bta", "%btd0", "%btd1"))  # set around the instruction, for all its probes
CARRIED = frozenset(("%bte", *(f"%btp{n}" for n in range(16))))  # known to kernels, not to functions
SCRATCH = ".reg .pred %btt; .reg .b16 %bth; .reg .b32 %btm, %btw, %btv; .reg .b64 %btx;"
Setter = Callable[[str], str]


def width(name: str) -> int:
    """Give the bits of an input register."""
    return 64 if name.removeprefix("%bt") in WIDE else 32


def declarations(names: Iterable[str]) -> str:
    """Declare input registers."""
    return " ".join(f".reg .b{width(name)} {name};" for name in sorted(names))


def inputs_of(probes: Iterable[KernelProbe]) -> frozenset[str]:
    """Give all inputs that some probes read."""
    return frozenset[str]().union(*(probe.body.inputs for probe in probes))


@dataclass(slots=True)
class Paster:
    """Makes pasted text; `called` holds the probes whose body is a function, `labels` counts."""

    space: str
    called: set[int] = field(default_factory=set)
    labels: int = 0

    def label(self) -> str:
        """Give a label that no other place has."""
        self.labels += 1
        return f"$BTS{self.labels}"

    def text_of(self, body: Body) -> str:
        """Give a body's text for this module's space of the context."""
        return body.text.replace(SPACE, self.space).strip("\n")

    def probe(self, probe: KernelProbe, set_input: Setter) -> str:
        """Give a block that runs a probe if it is enabled.

        `set_input` gives the PTX that sets an input; it is not asked for those that stand around the block.
        """
        own = probe.body.inputs - OUTSIDE - {"%bte"}
        end = self.label()
        lines = [
            f"{{ {SCRATCH} {declarations(own)}",
            f"ld.{self.space}.b32 %btm, [{CONTEXT}+{probe.number // 32 * 4}];",
            f"and.b32 %btm, %btm, {1 << probe.number % 32:#x};",
            f"setp.eq.b32 %btt, %btm, 0; @%btt bra {end};",
            *(_number(probe) if name == "%btq" else set_input(name) for name in sorted(own)),
            self._call(probe) if probe.number in self.called else f"{{\n{self.text_of(probe.body)}\n}}",
            f"{end}:\n}}",
        ]
        return "\n".join(line for line in lines if line)

    def _call(self, probe: KernelProbe) -> str:
        names = sorted(probe.body.inputs)
        params = " ".join(f".param .b{width(name)} {name[1:]};" for name in names)
        stores = " ".join(f"st.param.b{width(name)} [{name[1:]}], {name};" for name in names)
        arguments = f", ({', '.join(name[1:] for name in names)})" if names else ""
        return f"{{ {params} {stores}\ncall {function_name(probe)}{arguments}; }}"

    def function(self, probe: KernelProbe) -> str:
        """Give the function that a probe of many sites calls."""
        names = sorted(probe.body.inputs)
        params = ", ".join(f".param .b{width(name)} {name[1:]}_" for name in names)
        loads = " ".join(f"ld.param.b{width(name)} {name}, [{name[1:]}_];" for name in names)
        body = self.text_of(probe.body)
        head = f".func {function_name(probe)}({params})"
        return f"{head}\n{{ {declarations(names)}\n{loads}\n{{\n{body}\n}}\nret;\n}}\n"


def _number(probe: KernelProbe) -> str:
    return f"mov.b32 %btq, {probe.number};"


def function_name(probe: KernelProbe) -> str:
    """Name the function of a probe; its module is the only one that sees it."""
    return f"__bpftime_probe{probe.number}"
