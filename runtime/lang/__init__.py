"""The tracing language: text to `Script` to an eBPF `Object`. Touches nothing but memory.

`compile_script(text, file, options)` is the door; the result's programs run like those of any object, and
its decoders turn ring records and map contents into events. Trap: a probe block with attach points of
several providers becomes several programs.
"""

from __future__ import annotations

from runtime.lang.compile import compile_script, probes_of
from runtime.lang.mapdecoder import MapDecoder
from runtime.lang.script import Options, Script, ScriptProbe

__all__ = ["MapDecoder", "Options", "Script", "ScriptProbe", "compile_script", "probes_of"]
