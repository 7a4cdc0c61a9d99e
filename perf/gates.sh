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

# shellcheck source=perf/prepare.sh
. "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

help_if_asked "$@"
prepare "${GATE_PACKAGES[@]}"
python3 "$ROOT/perf/gates.py" --tools "$TOOLS" "$@"
