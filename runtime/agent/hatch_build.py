"""The build hook: compiles the agent for a wheel or in an editable tree.

Run by hatchling, which executes this file by its path: `build.py` beside it is loaded by its path too, and
nothing else of ours is.
"""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "runtime/agent"


def _build_module(root: str) -> ModuleType:
    """Load `build.py` by its path: a package of that name on the path must not be taken instead."""
    spec = importlib.util.spec_from_file_location("bpftime_agent_build", Path(root, FOLDER, "build.py"))
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{root}/{FOLDER}/build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class AgentHook(BuildHookInterface[Any]):
    """Puts the compiled agent into the wheel, or beside its sources for an editable installation."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the agent and name the wheel after the machine it was compiled for."""
        build = _build_module(self.root)
        editable = version == "editable"
        out = Path(self.root, FOLDER if editable else "build", build.LIBRARY)
        try:
            build.compile_agent(Path(self.root, FOLDER), out)
        except build.NoCompiler as error:
            self.app.abort(f"ERROR: {error}")
        except subprocess.CalledProcessError as error:
            self.app.abort(f"ERROR: the agent does not compile:\n{error.stderr}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{build.platform_tag()}"
        if not editable:
            build_data["force_include"][str(out)] = f"{FOLDER}/{build.LIBRARY}"
