"""The only door to LLVM: textual IR in, ELF object out, without vector registers.

LLVM is imported and initialised on first use (about 35 ms). A target machine is kept for each tier; a
fresh LLVM context is made for each module, so names never collide.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import Bug

if TYPE_CHECKING:
    from llvmlite.binding import ModuleRef, TargetMachine

TRIPLE = "x86_64-unknown-linux-gnu"
# Programs run between a target's instructions: its vector and x87 registers are never ours to touch.
FEATURES = "-mmx,-sse,-sse2,-sse3,-ssse3,-sse4.1,-sse4.2,-avx,-avx2,-x87,+soft-float,+popcnt"
CPU = "x86-64-v2"


def version() -> str:
    """Give the version that compiled code depends on, without importing LLVM."""
    found = find_spec("llvmlite")  # finds the package and does not import it
    if found is None or found.origin is None:
        return ""
    return Path(found.origin).with_name("_version.py").read_text()


@cache
def _machine(cheap: bool) -> TargetMachine:
    import llvmlite.binding as llvm  # lazy: 33 ms

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    # Without the parser, inline assembly aborts the whole process instead of raising.
    llvm.initialize_native_asmparser()
    target = llvm.Target.from_triple(TRIPLE)
    return target.create_target_machine(
        cpu=CPU, features=FEATURES, opt=0 if cheap else 2, reloc="pic", codemodel="small"
    )


def compile_ir(text: str, *, cheap: bool = False) -> bytes:
    """Compile one module to an ELF object.

    `cheap` skips most optimisation: half the time to compile, code that is three times as large.

    Raises:
        Bug: LLVM does not accept the text; the lifter made it, so the mistake is ours.
    """
    machine = _machine(cheap)
    emitted: bytes = machine.emit_object(_module(text, machine, cheap))
    return emitted


def compile_ptx(text: str, cpu: str, features: str) -> str:
    """Compile one module for NVIDIA's virtual machine; gives its assembly.

    LLVM ends the process at some things that an old architecture lacks: call it in a process of its own.
    `cpu`: such as sm_75; `features`: such as +ptx70.

    Raises:
        Bug: LLVM does not accept the text.
    """
    import llvmlite.binding as llvm  # lazy: 33 ms

    _machine(False)  # initialises LLVM
    target = llvm.Target.from_triple("nvptx64-nvidia-cuda")
    machine = target.create_target_machine(cpu=cpu, features=features, opt=3)
    try:
        module = llvm.parse_assembly(text, llvm.create_context())
    except RuntimeError as error:
        raise Bug(f"LLVM does not accept the lifted program: {error}\n{text}") from error
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_unrolling = False  # a body is pasted many times
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return str(machine.emit_assembly(module))


def optimised(text: str) -> str:
    """Give a module as it goes to the back end."""
    return str(_module(text, _machine(False), False))


def _module(text: str, machine: TargetMachine, cheap: bool) -> ModuleRef:
    import llvmlite.binding as llvm  # lazy: 33 ms

    try:
        module = llvm.parse_assembly(text, llvm.create_context())
    except RuntimeError as error:
        raise Bug(f"LLVM does not accept the lifted program: {error}\n{text}") from error
    options = llvm.create_pipeline_tuning_options(speed_level=0 if cheap else 2)
    builder = llvm.create_pass_builder(machine, options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    if not cheap:
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
        # Once the integers that were made from the frame pointer are dead, the frame itself can be split.
        passes.add_sroa_pass()
        passes.add_new_gvn_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    return module
