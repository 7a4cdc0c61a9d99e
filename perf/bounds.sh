#!/usr/bin/env bash
# Ten thousand clients that ask for 4 MB each and read nothing, without a limit and under --max-memory 64MiB: what two
# routers hold, which streams are refused, and what is left a minute later. Before that, what one such client costs
# others. Up to ten minutes.
#
#   perf/bounds.sh [--count N]
#
# SKUPPER_BIN=folder uses the release programs there.

# shellcheck source=perf/prepare.sh
. "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

help_if_asked "$@"
prepare gcc iperf3
python3 "$ROOT/perf/bounds.py" --tools "$TOOLS" "$@"
