"""The command line: options, commands, renderers and messages. It assembles, it never patches or compiles."""

import os
import sys

__version__ = "0.1.0"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100,PTH120 # pathlib costs 4 ms here

# `python -m bpftime_cli` puts the working directory first: a user's own `runtime.py` there must not win.
_here = os.getcwd()  # noqa: PTH109
if sys.path and not sys.flags.safe_path and os.path.abspath(sys.path[0] or _here) == _here != ROOT:  # noqa: PTH100
    del sys.path[0]
