#!/usr/bin/env bash
# Half an hour of mixed load through two routers: short and long connections, slow readers, clients that leave in the
# middle. Every octet is compared; memory and descriptors must stay flat and go back afterwards.
#
#   perf/soak.sh [--minutes N] [--seed N]      after a warm-up of a sixth of that time
#
# SKUPPER_BIN=folder uses the release programs there.

# shellcheck source=perf/prepare.sh
. "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

help_if_asked "$@"
prepare gcc
python3 "$ROOT/perf/soak.py" "$@"
