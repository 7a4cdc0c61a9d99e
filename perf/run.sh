#!/usr/bin/env bash
# Measures our two routers beside pairs of HAProxy, nginx and stunnel, a minimal relay and the bare loopback, in one
# interleaved run on this host.
#
#   perf/run.sh              five rounds, about 30 minutes; 35 with skrouterd
#   perf/run.sh --quick      one short round, less than three minutes
#   perf/run.sh --rounds N   another number of rounds
#
# SKROUTERD=/path/to/skrouterd adds a pair of that router. SKUPPER_BIN=folder measures the programs there.
# Prints one table; writes the samples as JSON and a chart as SVG into perf/results. perf/README.md says how to read
# them.

# shellcheck source=perf/prepare.sh
. "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

help_if_asked "$@"
OPTIONS=()
while [ $# -gt 0 ]; do
    case "$1" in
        --quick) OPTIONS+=(--quick) ;;
        --rounds)
            [[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || die "--rounds takes a number"
            OPTIONS+=(--rounds "$2")
            shift
            ;;
        *) die "unknown option '$1' (try --help)" ;;
    esac
    shift
done

prepare "${PERF_PACKAGES[@]}"
mkdir -p "$ROOT/perf/results"
python3 "$ROOT/perf/measure.py" --tools "$TOOLS" --results "$ROOT/perf/results" \
    --commit "$(git -C "$ROOT" rev-parse --short HEAD 2>/dev/null || echo unknown)" ${OPTIONS[@]+"${OPTIONS[@]}"}
