"""The completion for zsh: one `_arguments` call a command."""

from __future__ import annotations

from bpftime_cli.manual.tree import Argument, Command, Option

HEAD = """#compdef bpftime
# made by `python -m bpftime_cli.manual --write`

_bpftime_dynamic() {
    local -a values shown
    local word about
    while IFS=$'\\t' read -r word about; do
        values+=("$word")
        shown+=("$word  $about")
    done < <(bpftime __complete "$1" "$PREFIX" 2>/dev/null)
    compadd -S '' -d shown -a values
}
"""
ACTIONS = {"file": "_files", "dir": "_files -/", "command": "_command_names -e", "": ""}


def write(commands: tuple[Command, ...]) -> str:
    """Return the file."""
    parts = [
        HEAD,
        "_bpftime() {",
        "    local -a commands",
        "    local context state state_descr line",
        "    typeset -A opt_args",
    ]
    parts += ["    commands=("]
    parts += [f"        '{command.name}:{_escaped(command.summary)}'" for command in commands]
    parts += ["    )", "    _arguments -C '(-h --help)'{-h,--help}'[show the help]' \\"]
    parts += [
        "        '(-V --version)'{-V,--version}'[print the version]' '1: :->command' '*:: :->rest'",
        "    case $state in",
    ]
    parts += ["    command) _describe command commands ;;", "    rest)", "        case $words[1] in"]
    for command in commands:
        parts += _command(command)
    return "\n".join([*parts, "        esac", "        ;;", "    esac", "}", "", '_bpftime "$@"', ""])


def _command(command: Command) -> list[str]:
    specs = [spec for option in command.options for spec in _option(option)]
    specs += [
        f"'{_argument(argument, i == len(command.arguments) - 1)}'"
        for i, argument in enumerate(command.arguments)
    ]
    lines = [f"                {spec} \\" for spec in specs[:-1]] + [f"                {specs[-1]}"]
    return [f"        {command.name})", "            _arguments -s \\", *lines, "            ;;"]


def _option(option: Option) -> list[str]:
    value = (
        f":{option.metavar.lower().replace('[', '').replace(']', '')}:{_action(option.kind, option.words)}"
        if option.metavar
        else ""
    )
    others = "" if option.repeats or len(option.names) < 2 else f"({' '.join(option.names)})"
    star = "*" if option.repeats else ""
    return [
        f"'{others}{star}{name}[{_escaped(option.help)}]{_escaped_value(value)}'" for name in option.names
    ]


def _argument(argument: Argument, is_last: bool) -> str:
    name = argument.metavar.lower().translate({ord(c): None for c in "[].:|"}).strip()
    return f"{'*' if is_last else ''}:{name}:{_action(argument.kind, argument.words)}"


def _action(kind: str, words: tuple[str, ...]) -> str:
    if words:
        return f"({' '.join(words)})"
    # The blank keeps zsh from putting words of its own before the kind.
    return ACTIONS.get(kind, f" _bpftime_dynamic {kind}")


def _escaped(text: str) -> str:
    for char in "\\[]:":
        text = text.replace(char, "\\" + char)
    return text.replace("'", "'\\''")


def _escaped_value(text: str) -> str:
    return text.replace("'", "'\\''")
