"""The completion for fish: one `complete` line an option."""

from __future__ import annotations

from bpftime_cli.manual.tree import Command, Option

HEAD = """# fish completion for bpftime; made by `python -m bpftime_cli.manual --write`

function __bpftime_dynamic
    bpftime __complete $argv[1] (commandline -ct) 2>/dev/null
end

complete -c bpftime -f
complete -c bpftime -n __fish_use_subcommand -s h -l help -d 'Show the help and exit.'
complete -c bpftime -n __fish_use_subcommand -s V -l version -d 'Print the version and exit.'
"""


def write(commands: tuple[Command, ...]) -> str:
    """Return the file."""
    parts = [HEAD]
    for command in commands:
        parts.append(
            f"complete -c bpftime -n __fish_use_subcommand -a {command.name} -d {_quoted(command.summary)}"
        )
        seen = f"-n '__fish_seen_subcommand_from {command.name}'"
        parts += [
            f"complete -c bpftime {seen}{_names(option)}{_value(option)} -d {_quoted(option.help)}"
            for option in command.options
        ]
        parts += [
            f"complete -c bpftime {seen}{_positional(a.kind, a.words)}"
            for a in command.arguments[:1]
            if a.kind
        ]
    return "\n".join([*parts, ""])


def _names(option: Option) -> str:
    return "".join(f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in option.names)


def _value(option: Option) -> str:
    if not option.metavar:
        return ""
    # -x: a value and no file names; -r: a value, and -F adds the files
    return f" {'-r' if option.kind == 'file' else '-x'}{_positional(option.kind, option.words)}"


def _positional(kind: str, words: tuple[str, ...]) -> str:
    if words:
        return f" -a '{' '.join(words)}'"
    simple = {
        "file": " -F",
        "dir": " -a '(__fish_complete_directories)'",
        "command": " -a '(__fish_complete_command)'",
        "": "",
    }
    return simple.get(kind, f" -a '(__bpftime_dynamic {kind})'")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
