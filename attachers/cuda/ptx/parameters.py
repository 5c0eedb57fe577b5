"""How a kernel's parameter becomes 64 bits for a probe: zero-extended; of a structure the first 8 bytes."""

from __future__ import annotations

from attachers.cuda.ptx.syntax import Function


def parameter_code(kernel: Function, register: str) -> str:
    """Give PTX that sets `%btpN`, by `%btw`, `%btv` and `%btx`; to 0 where the kernel has no parameter N."""
    index = int(register.removeprefix("%btp"))
    if index >= len(kernel.params):
        return f"mov.b64 {register}, 0;"
    parameter = kernel.params[index]
    size = min(parameter.size, 8)
    step = _step(parameter.align, size)
    if step == 8:
        return f"ld.param.b64 {register}, [{parameter.name}];"
    lines = [f"mov.b64 {register}, 0;"]
    for at in range(0, size - step + 1, step):
        kind = "b32" if step == 4 else f"u{8 * step}"
        lines.append(f"ld.param.{kind} %btw, [{parameter.name}+{at}]; cvt.u64.u32 %btx, %btw;")
        if at:
            lines.append(f"shl.b64 %btx, %btx, {8 * at};")
        lines.append(f"or.b64 {register}, {register}, %btx;")
    return " ".join(lines)


def _step(align: int, size: int) -> int:
    """Give the largest power of two that divides both."""
    step = 8
    while step > 1 and (align % step or size % step):
        step //= 2
    return step
