# Shared by the scripts beside it; to be sourced.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

UV_VERSION=0.13.9

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

# install_with_uv PYTHON ARGUMENT...: install as pip would, from where pip does, in a fraction of the time.
# Fails where uv cannot be had, or not do it.
install_with_uv() {
    local python=$1 settings name value from=()
    shift
    "$python" -m pip install --quiet --quiet --disable-pip-version-check "uv==$UV_VERSION" || return
    settings=$("$python" -m pip config list 2>/dev/null)
    for name in index-url extra-index-url find-links; do
        # Of several places that set it, pip lists the one that counts last.
        value=$(sed -n "s/^[^=]*\.$name='\(.*\)'\$/\1/p" <<<"$settings" | tail -n 1)
        # shellcheck disable=SC2086 # several are separated by spaces
        for value in $value; do from+=("--$name" "$value"); done
    done
    "$python" -m uv pip install --quiet --python "$python" --index-strategy unsafe-best-match \
        "${from[@]}" "$@" 2>/dev/null
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
    install_with_uv "$folder/bin/python" "${arguments[@]}" ||
        "$folder/bin/python" -m pip install --quiet --quiet --disable-pip-version-check "${arguments[@]}" ||
        die "the packages of $* could not be installed"
    printf '%s\n' "$wanted" >"$folder/.installed"
}

# ensure_debian_package COMMAND PACKAGE: install the package where the command is absent and that is
# possible; otherwise say so and go on. No service of it is started.
ensure_debian_package() {
    local command=$1 package=$2 policy=/usr/sbin/policy-rc.d added=
    if PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null; then
        return
    fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "$package is not installed, and only root can with apt-get; going on without it"
        return
    fi
    say "Installing the Debian package $package (once)"
    # Packages ask this file whether they may start their services; 101 forbids it.
    if [ ! -e "$policy" ]; then
        added=1
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "$package"; } >/dev/null 2>&1 || say "$package could not be installed; going on without it"
    [ -z "$added" ] || rm -f "$policy"
}
