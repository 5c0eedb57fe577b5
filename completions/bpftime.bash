# bash completion for bpftime; made by `python -m bpftime_cli.manual --write`

_bpftime_dynamic() {
    local line
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\t'*}")
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

_bpftime_commands="trace strace load attach detach list maps check run cuda doctor --help --version"

_bpftime_choose() {
    case $1:$2 in
    trace:-e)
        _bpftime_value "" "$3"
        return
        ;;
    trace:-p | trace:--pid)
        _bpftime_value "pid" "$3"
        return
        ;;
    trace:-c)
        _bpftime_value "command" "$3"
        return
        ;;
    trace:-o)
        _bpftime_value "file" "$3"
        return
        ;;
    trace:-f | trace:--format)
        _bpftime_words "text json" "$3"
        return
        ;;
    trace:-B)
        _bpftime_words "line full none" "$3"
        return
        ;;
    trace:-d)
        _bpftime_words "parse ast types bytecode verify codegen codegen-opt native plan all" "$3"
        return
        ;;
    trace:--mode)
        _bpftime_words "trace codegen test bench format" "$3"
        return
        ;;
    trace:--emit-llvm)
        _bpftime_value "file" "$3"
        return
        ;;
    trace:--inject)
        _bpftime_words "ptrace frida preload" "$3"
        return
        ;;
    trace:--backend)
        _bpftime_words "auto inline frida" "$3"
        return
        ;;
    trace:--duration)
        _bpftime_value "" "$3"
        return
        ;;
    trace:--max-events)
        _bpftime_value "" "$3"
        return
        ;;
    trace:-i | trace:--interval)
        _bpftime_value "" "$3"
        return
        ;;
    trace:--fail-on)
        _bpftime_words "lost empty" "$3"
        return
        ;;
    trace:--ready-fd)
        _bpftime_value "" "$3"
        return
        ;;
    trace:--session)
        _bpftime_value "session" "$3"
        return
        ;;
    trace:--cuda-assembler)
        _bpftime_words "ptrace frida preload" "$3"
        return
        ;;
    trace:--cuda-dump)
        _bpftime_value "dir" "$3"
        return
        ;;
    trace:--color)
        _bpftime_words "auto always never" "$3"
        return
        ;;
    trace:--calls)
        _bpftime_value "" "$3"
        return
        ;;
    trace:--syscalls)
        _bpftime_value "" "$3"
        return
        ;;
    trace:--name)
        _bpftime_value "" "$3"
        return
        ;;
    trace:--probe-filter)
        _bpftime_value "" "$3"
        return
        ;;
    trace:--set)
        _bpftime_value "" "$3"
        return
        ;;
    trace:--help-script)
        _bpftime_value "" "$3"
        return
        ;;
    trace:--wait-dlopen)
        _bpftime_value "" "$3"
        return
        ;;
    trace:-I)
        _bpftime_value "dir" "$3"
        return
        ;;
    trace:--include)
        _bpftime_value "file" "$3"
        return
        ;;
    trace:--debuginfo)
        _bpftime_value "dir" "$3"
        return
        ;;
    strace:-p | strace:--pid)
        _bpftime_value "pid" "$3"
        return
        ;;
    strace:-e)
        _bpftime_value "" "$3"
        return
        ;;
    strace:--time)
        _bpftime_words "ptrace frida preload" "$3"
        return
        ;;
    strace:-s)
        _bpftime_value "" "$3"
        return
        ;;
    strace:--slow)
        _bpftime_value "" "$3"
        return
        ;;
    strace:--sort)
        _bpftime_value "" "$3"
        return
        ;;
    strace:--syscalls)
        _bpftime_value "" "$3"
        return
        ;;
    strace:-o)
        _bpftime_value "file" "$3"
        return
        ;;
    strace:--color)
        _bpftime_words "auto always never" "$3"
        return
        ;;
    load:--session)
        _bpftime_value "session" "$3"
        return
        ;;
    load:--session-size)
        _bpftime_value "" "$3"
        return
        ;;
    load:--set)
        _bpftime_value "" "$3"
        return
        ;;
    load:-p | load:--pid)
        _bpftime_value "pid" "$3"
        return
        ;;
    load:-c)
        _bpftime_value "command" "$3"
        return
        ;;
    load:--event)
        _bpftime_value "" "$3"
        return
        ;;
    load:-f | load:--format)
        _bpftime_words "text json" "$3"
        return
        ;;
    load:--inject)
        _bpftime_words "ptrace frida preload" "$3"
        return
        ;;
    load:--backend)
        _bpftime_words "auto inline frida" "$3"
        return
        ;;
    load:--duration)
        _bpftime_value "" "$3"
        return
        ;;
    load:--color)
        _bpftime_words "auto always never" "$3"
        return
        ;;
    load:--name)
        _bpftime_value "" "$3"
        return
        ;;
    load:--cuda-assembler)
        _bpftime_words "ptrace frida preload" "$3"
        return
        ;;
    load:--cuda-dump)
        _bpftime_value "dir" "$3"
        return
        ;;
    attach:-p | attach:--pid)
        _bpftime_value "pid" "$3"
        return
        ;;
    attach:--type)
        _bpftime_words "uprobe uretprobe" "$3"
        return
        ;;
    attach:--cookie)
        _bpftime_value "" "$3"
        return
        ;;
    attach:--session)
        _bpftime_value "session" "$3"
        return
        ;;
    attach:-f | attach:--format)
        _bpftime_words "text json" "$3"
        return
        ;;
    detach:-p | detach:--pid)
        _bpftime_value "pid" "$3"
        return
        ;;
    detach:--session)
        _bpftime_value "session" "$3"
        return
        ;;
    list:-p | list:--pid)
        _bpftime_value "pid" "$3"
        return
        ;;
    list:--session)
        _bpftime_value "session" "$3"
        return
        ;;
    list:-f | list:--format)
        _bpftime_words "text json" "$3"
        return
        ;;
    maps:-p | maps:--pid)
        _bpftime_value "pid" "$3"
        return
        ;;
    maps:--set)
        _bpftime_value "" "$3"
        return
        ;;
    maps:--delete)
        _bpftime_value "" "$3"
        return
        ;;
    maps:--watch)
        _bpftime_value "" "$3"
        return
        ;;
    maps:--session)
        _bpftime_value "session" "$3"
        return
        ;;
    maps:-f | maps:--format)
        _bpftime_words "text json" "$3"
        return
        ;;
    maps:--color)
        _bpftime_words "auto always never" "$3"
        return
        ;;
    check:-f | check:--format)
        _bpftime_words "text json" "$3"
        return
        ;;
    check:-I)
        _bpftime_value "dir" "$3"
        return
        ;;
    check:--include)
        _bpftime_value "file" "$3"
        return
        ;;
    run:--program)
        _bpftime_value "" "$3"
        return
        ;;
    run:--btf)
        _bpftime_value "file" "$3"
        return
        ;;
    run:--mem)
        _bpftime_value "" "$3"
        return
        ;;
    run:--hex)
        _bpftime_value "file" "$3"
        return
        ;;
    cuda:--probe)
        _bpftime_value "file" "$3"
        return
        ;;
    cuda:-o | cuda:--output)
        _bpftime_value "file" "$3"
        return
        ;;
    cuda:--arch)
        _bpftime_value "" "$3"
        return
        ;;
    cuda:--assembler)
        _bpftime_words "auto ptxas nvjitlink" "$3"
        return
        ;;
    cuda:--image)
        _bpftime_value "" "$3"
        return
        ;;
    cuda:-f | cuda:--format)
        _bpftime_words "text json" "$3"
        return
        ;;
    doctor:-p | doctor:--pid)
        _bpftime_value "pid" "$3"
        return
        ;;
    doctor:-f | doctor:--format)
        _bpftime_words "text json" "$3"
        return
        ;;
    esac
    if [[ $3 == -* ]]; then
        case $1 in
        trace) _bpftime_words "-e -p --pid -c -o -f --format -B -q --quiet --no-warnings -k -v --verbose -d --mode --emit-llvm --fmt --test --bench --dry-run --unsafe --inject --backend --duration --max-events -i --interval --clear --exit-code --fail-on --ready-fd --session --cuda-assembler --cuda-dump --color --allow-return-swap --calls --syscalls --summary --name --probe-filter --set --info --help-script --follow --no-follow --pending --no-pending --wait-dlopen -I --include -l --list --debuginfo -h --help" "$3" ;;
        strace) _bpftime_words "-p --pid -e -c -C -f --no-follow -T --no-durations -r -t --time -y -s -z -Z --slow --sort --syscalls -o --json -q --quiet --color -h --help" "$3" ;;
        load) _bpftime_words "--session --session-size --set -p --pid -c --detached --event -f --format -q --quiet --no-warnings -v --verbose --inject --backend --duration --exit-code --color --name --follow --no-follow --cuda-assembler --cuda-dump -h --help" "$3" ;;
        attach) _bpftime_words "-p --pid --type --cookie --session -f --format -q --quiet -h --help" "$3" ;;
        detach) _bpftime_words "-p --pid --stale --all --unload --session -q --quiet -h --help" "$3" ;;
        list) _bpftime_words "-p --pid --links --processes --session -v --verbose -f --format -h --help" "$3" ;;
        maps) _bpftime_words "-p --pid --set --delete --watch --follow --session -f --format --color -h --help" "$3" ;;
        check) _bpftime_words "-f --format -I --include -h --help" "$3" ;;
        run) _bpftime_words "--program --btf --mem --hex --batch -h --help" "$3" ;;
        cuda) _bpftime_words "--probe -o --output --arch --assembler --image -f --format -q --quiet -h --help" "$3" ;;
        doctor) _bpftime_words "-p --pid -f --format -h --help" "$3" ;;
        esac
        return
    fi
    case $1 in
    trace) _bpftime_value "file" "$3" ;;
    strace) _bpftime_value "" "$3" ;;
    load) _bpftime_value "file" "$3" ;;
    attach) _bpftime_value "file" "$3" ;;
    detach) _bpftime_value "" "$3" ;;
    list) _bpftime_value "probe" "$3" ;;
    maps) _bpftime_value "map" "$3" ;;
    check) _bpftime_value "file" "$3" ;;
    run) _bpftime_value "file" "$3" ;;
    cuda) _bpftime_words "list weave" "$3" ;;
    esac
}

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
