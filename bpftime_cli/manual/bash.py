"""The completion for bash. The word is cut from the line itself, as bash breaks words at every colon."""

from __future__ import annotations

from bpftime_cli.manual.tree import Command, Option

HEAD = """# bash completion for bpftime; made by `python -m bpftime_cli.manual --write`

_bpftime_dynamic() {
    local line
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\\t'*}")
    done < <(bpftime __complete "$1" "$2" 2>/dev/null)
}

_bpftime_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_bpftime_files() {
    mapfile -t COMPREPLY < <(compgen "$1" -- "$2")
    compopt -o filenames 2>/dev/null
}

_bpftime_value() {
    case $1 in
    pid | probe | session | map) _bpftime_dynamic "$1" "$2" ;;
    command) _bpftime_files -c "$2" ;;
    file) _bpftime_files -f "$2" ;;
    dir) _bpftime_files -d "$2" ;;
    esac
}
"""
TAIL = """
_bpftime() {
    local line=${COMP_LINE:0:COMP_POINT} words word before command kind i
    COMPREPLY=()
    read -ra words <<<"$line"
    word=${words[-1]}
    before=
    if ((${#words[@]} > 1)); then
        before=${words[-2]}
    fi
    if [[ $line == *[[:space:]] ]]; then
        before=$word
        word=
    fi
    command=
    for ((i = 1; i < ${#words[@]}; i++)); do
        if [[ ${words[i]} == -- && ! ($i -eq $((${#words[@]} - 1)) && $word == --) ]]; then
            _bpftime_files -f "$word"
            return
        fi
        if [[ -z $command && ${words[i]} != -* && ! ($i -eq $((${#words[@]} - 1)) && -n $word) ]]; then
            command=${words[i]}
        fi
    done
    if [[ -z $command ]]; then
        _bpftime_words "$_bpftime_commands" "$word"
        return
    fi
    _bpftime_choose "$command" "$before" "$word"
    # bash replaces only what stands behind the last colon of the word.
    if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
        local prefix=${word%"${word##*:}"}
        for i in "${!COMPREPLY[@]}"; do
            COMPREPLY[i]=${COMPREPLY[i]#"$prefix"}
        done
        compopt -o nospace 2>/dev/null
    fi
}

complete -F _bpftime bpftime
"""


def write(commands: tuple[Command, ...]) -> str:
    """Return the file."""
    names = " ".join([*(command.name for command in commands), "--help", "--version"])
    parts = [HEAD, f'_bpftime_commands="{names}"', "", "_bpftime_choose() {", "    case $1:$2 in"]
    for command in commands:
        parts += [line for option in command.options if option.metavar for line in _value(command, option)]
    parts += ["    esac", "    if [[ $3 == -* ]]; then", "        case $1 in"]
    for command in commands:
        words = " ".join(name for option in command.options for name in option.names)
        parts.append(f'        {command.name}) _bpftime_words "{words}" "$3" ;;')
    parts += ["        esac", "        return", "    fi", "    case $1 in"]
    for command in commands:
        for argument in command.arguments[:1]:
            parts.append(f"    {command.name}) {_action(argument.kind, argument.words)} ;;")
    return "\n".join([*parts, "    esac", "}", TAIL])


def _value(command: Command, option: Option) -> list[str]:
    patterns = " | ".join(f"{command.name}:{name}" for name in option.names)
    return [
        f"    {patterns})",
        f"        {_action(option.kind, option.words)}",
        "        return",
        "        ;;",
    ]


def _action(kind: str, words: tuple[str, ...]) -> str:
    return f'_bpftime_words "{" ".join(words)}" "$3"' if words else f'_bpftime_value "{kind}" "$3"'
