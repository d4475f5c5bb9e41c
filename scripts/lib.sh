# Shared by the scripts beside it; to be sourced.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

die() { say "$*"; exit 1; }

# Print the first Python that is new enough.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3 python3.12 python3.13 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "Python 3.11 or newer is needed; set PYTHON to it if it is installed elsewhere"
}

# ensure_venv FOLDER FILE...: a virtual environment with these requirement files installed.
# A stamp of the files' contents makes every start but the first immediate.
ensure_venv() {
    local folder=$1 python wanted file
    shift
    python=$(find_python)
    wanted=$(cd "$root" && { "$python" --version; for file in "$@"; do cat "$file"; done; } | cksum)
    if [ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    say "Installing $* into $folder (once; this takes a minute or more)"
    "$python" -m venv --clear "$folder" ||
        die "cannot make a virtual environment; on Debian: apt-get install python3-venv"
    local arguments=()
    for file in "$@"; do arguments+=(-r "$root/$file"); done
    "$folder/bin/python" -m pip install --quiet --quiet --disable-pip-version-check "${arguments[@]}" ||
        die "the packages of $* could not be installed"
    printf '%s\n' "$wanted" >"$folder/.installed"
}
