#!/usr/bin/env bash
# Ten thousand clients that ask for 4 MB each and read nothing, without a limit and under --max-memory 64MiB: what two
# routers hold, which streams are refused, and what is left a minute later. Up to seven minutes.
#
#   perf/bounds.sh [--count N]
#
# SKUPPER_BIN=folder uses the release programs there.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=deploy/packages.sh
. "$ROOT/deploy/packages.sh"

case "${1:-}" in
    -h | --help)
        sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
esac
install_packages "${BUILD_PACKAGES[@]}" "${DEMO_PACKAGES[@]}"
if [ -z "${SKUPPER_BIN:-}" ]; then
    find_swift
    build_programs "$ROOT"
    export SKUPPER_BIN="$BIN"
fi
TOOLS="$(mktemp -d)"
trap 'rm -rf "$TOOLS"' EXIT
build_load_tools "$ROOT" "$TOOLS"
ulimit -n "$(ulimit -H -n)"
python3 "$ROOT/perf/bounds.py" --tools "$TOOLS" "$@"
