#!/usr/bin/env bash
# Half an hour of mixed load through two routers: short and long connections, slow readers, clients that leave in the
# middle. Every octet is compared; memory and descriptors must stay flat and go back afterwards.
#
#   perf/soak.sh [--minutes N] [--seed N]      after a warm-up of a sixth of that time
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
ulimit -n "$(ulimit -H -n)"
exec python3 "$ROOT/perf/soak.py" "$@"
