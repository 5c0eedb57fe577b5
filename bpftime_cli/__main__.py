"""Start: checks that our own packages are ours, answers what needs no command, shows errors."""

from __future__ import annotations

import importlib.machinery
import os
import sys

from bpftime_cli import ROOT, __version__

INTERNAL = 70  # EX_SOFTWARE of sysexits.h


def _foreign_package() -> str:
    """Return where another `runtime` or `attachers` hides ours, or an empty string."""
    for name in ("runtime", "attachers"):
        spec = importlib.machinery.PathFinder.find_spec(name)
        origin = spec.origin if spec and spec.origin else ""
        if not origin.startswith(f"{ROOT}/{name}/"):
            return origin or f"no package {name}"
    return ""


def main() -> int:
    """Run the command line; returns the exit status."""
    arguments = sys.argv[1:]
    if arguments in (["-V"], ["--version"]):
        sys.stdout.write(f"bpftime {__version__}\n")
        return 0
    foreign = _foreign_package()
    if foreign:
        sys.stderr.write(
            f"ERROR: another package hides a part of bpftime: {foreign}\n"
            "HINT: run it from another folder, or reinstall: pip install --force-reinstall bpftime\n"
        )
        return INTERNAL
    if arguments[:1] == ["__complete"]:
        from bpftime_cli.complete import complete

        return complete(arguments[1:])
    return _run()


def _run() -> int:
    from runtime.errors import Problem

    try:
        return _app()
    except Problem as problem:
        from bpftime_cli.console import Console

        Console.standard().problem(problem)
        return problem.status
    except BrokenPipeError:
        # The reader of our pipe left: the normal end. Python must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        sys.stderr.write(f"ERROR: {error.filename or 'output'}: {error.strerror}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:  # the only place: everything else is a Problem
        return _wrong_usage(error) if hasattr(error, "format_message") else _bug(error)


def _app() -> int:
    from bpftime_cli.app import app

    status = app(prog_name="bpftime", standalone_mode=False)
    if sys.stdout is not None:
        sys.stdout.flush()
    return status if isinstance(status, int) else 0


def _wrong_usage(error: Exception) -> int:
    """Show what Typer has against the command line, in its own words."""
    error.show()  # type: ignore[attr-defined] # typer's exceptions have no public base class before 0.27
    status: int = error.exit_code  # type: ignore[attr-defined]
    return status


def _bug(error: Exception) -> int:
    import tempfile
    import traceback

    if os.environ.get("BPFTIME_DEBUG"):
        traceback.print_exc()
        return INTERNAL
    with tempfile.NamedTemporaryFile("w", prefix="bpftime-", suffix=".log", delete=False) as file:
        traceback.print_exc(file=file)
    sys.stderr.write(f"BUG: {type(error).__name__}: {error}\nHINT: please report this with {file.name}\n")
    return INTERNAL


if __name__ == "__main__":
    sys.exit(main())
