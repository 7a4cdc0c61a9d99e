# Sourced by the scripts of this folder: their help, what they need on the machine, the programs and the load tools.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=deploy/packages.sh
. "$ROOT/deploy/packages.sh"

# help_if_asked ARGUMENT...: when the first one asks for help, prints the head of the calling script and ends.
help_if_asked() {
    case "${1:-}" in
        -h | --help)
            sed -n '/^$/q;2,$s/^# \{0,1\}//p' "${BASH_SOURCE[1]}"
            exit 0
            ;;
    esac
}

# prepare PACKAGE...: installs these and what the build needs, sets SKUPPER_BIN to release programs unless it is set,
# TOOLS to a folder with the load tools that goes when the script ends, and allows as many open files as may be.
prepare() {
    install_packages "${BUILD_PACKAGES[@]}" "${DEMO_PACKAGES[@]}" "$@"
    if [ -n "${SKUPPER_BIN:-}" ]; then
        say "Taking the programs in $SKUPPER_BIN"
    else
        find_swift
        build_programs "$ROOT"
        export SKUPPER_BIN="$BIN"
    fi
    TOOLS="$(mktemp -d)"
    trap 'rm -rf "$TOOLS"' EXIT
    build_load_tools "$ROOT" "$TOOLS"
    ulimit -n "$(ulimit -H -n)"
}
