"""An event source of one's own: a program runs for each line that holds a text."""

from attachers.context import AttachContext
from attachers.simple import add_simple_attach
from runtime.ebpf.asm import assemble
from runtime.ebpf.object import Program
from runtime.types import ContextKind

LINES = 2001  # any number from 2000 on


def on_line(wanted, line, run):
    """The event: `wanted` is the configuration; the program gets the line's bytes; its r0 is the result."""
    return run(line.encode())[1] if wanted in line else 0


context = AttachContext()
trigger = add_simple_attach(context, LINES, on_line)
length = Program("length", "", ContextKind.MEMORY, "", assemble("r0 = r2\nexit").code)
link = context.attach(context.load(length, {}, {}), LINES, "error")
if __name__ == "__main__":
    print([trigger(line) for line in ("all is well", "an error")])  # [0, 8]
    context.destroy_link(link)
    print(trigger("an error"))  # 1: nothing is attached
