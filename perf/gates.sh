#!/usr/bin/env bash
# Counts instructions, heap allocations, copied octets and system calls for each connection, request and forwarded
# megabyte, and fails when one is above what perf/thresholds/gates.json records. Takes about a minute; the counts do
# not depend on how busy the machine is.
#
#   perf/gates.sh                        check
#   perf/gates.sh --record               check, and record what was counted
#   perf/gates.sh --without-instructions leave callgrind out
#
# SKUPPER_BIN=folder checks the release programs there.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=deploy/packages.sh
. "$ROOT/deploy/packages.sh"

case "${1:-}" in
    -h | --help)
        sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
esac
install_packages "${BUILD_PACKAGES[@]}" "${DEMO_PACKAGES[@]}" "${GATE_PACKAGES[@]}"
if [ -z "${SKUPPER_BIN:-}" ]; then
    find_swift
    build_programs "$ROOT"
    export SKUPPER_BIN="$BIN"
fi
TOOLS="$(mktemp -d)"
trap 'rm -rf "$TOOLS"' EXIT
build_load_tools "$ROOT" "$TOOLS"
python3 "$ROOT/perf/gates.py" --tools "$TOOLS" "$@"
