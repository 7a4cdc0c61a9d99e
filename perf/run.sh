#!/usr/bin/env bash
# Measures our two routers beside an HAProxy pair and the bare loopback, in one interleaved run on this host.
#
#   perf/run.sh            five rounds, about ten minutes
#   perf/run.sh --quick    two short rounds, less than three minutes
#
# Prints one table; writes the same figures as JSON into perf/results. perf/README.md says how to read them.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=deploy/packages.sh
. "$ROOT/deploy/packages.sh"

OPTIONS=()
for argument in "$@"; do
    case "$argument" in
        --quick) OPTIONS+=(--quick) ;;
        -h | --help)
            sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        *) die "unknown option '$argument'; the only one is --quick" ;;
    esac
done

install_packages "${BUILD_PACKAGES[@]}" "${DEMO_PACKAGES[@]}" "${PERF_PACKAGES[@]}"
if [ -n "${SKUPPER_BIN:-}" ]; then
    say "Measuring the programs in $SKUPPER_BIN"
else
    find_swift
    build_programs "$ROOT"
    export SKUPPER_BIN="$BIN"
fi

TOOLS="$(mktemp -d)"
trap 'rm -rf "$TOOLS"' EXIT
gcc -O2 -Wall -Wextra -Werror -o "$TOOLS/load" "$ROOT/perf/load/load.c"
mkdir -p "$ROOT/perf/results"
python3 "$ROOT/perf/measure.py" --load "$TOOLS/load" --results "$ROOT/perf/results" ${OPTIONS[@]+"${OPTIONS[@]}"}
