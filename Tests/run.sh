#!/usr/bin/env bash
# Runs everything that checks this repository and ends with one line: N passed, N failed, N skipped.
#
#   Tests/run.sh                            all of it: tidy, unit, integration, interop, gates, kubernetes
#   Tests/run.sh integration test_streams   one stage, and of it only the named tests
#   Tests/run.sh --sanitize address         unit and integration tests under AddressSanitizer (or: thread)
#
# Stages: tidy unit integration interop gates kubernetes (which needs KUBEBUILDER_ASSETS).
# Tests/README.md says which question belongs to which.
# SKUPPER_TEST_LARGE=1 moves 2 GB where 200 MB are usual; SKUPPER_TEST_SEED=N repeats a run's random choices.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=deploy/packages.sh
. "$ROOT/deploy/packages.sh"
cd "$ROOT"

SANITIZER=""
STAGES=()
NAMES=()
while [ $# -gt 0 ]; do
    case "$1" in
        --sanitize)
            SANITIZER="${2:-}"
            case "$SANITIZER" in
                address | thread) shift ;;
                *) die "--sanitize takes address or thread, not '$SANITIZER'" ;;
            esac
            ;;
        -h | --help)
            sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        tidy | unit | integration | interop | gates | kubernetes) STAGES+=("$1") ;;
        test_*) NAMES+=("$1") ;;
        *) die "unknown argument '$1' (try --help)" ;;
    esac
    shift
done
if [ ${#STAGES[@]} -eq 0 ]; then
    STAGES=(tidy unit integration interop gates kubernetes)
    [ -z "$SANITIZER" ] || STAGES=(unit integration)
fi

SCRATCH="$(mktemp -d)"
trap 'rm -rf "$SCRATCH"' EXIT
PASSED=0
FAILED=0
SKIPPED=0

# Reads "passed failed skipped" from the file that a stage wrote; a stage that wrote nothing has failed once.
add_counts() {
    local passed=0 failed=1 skipped=0
    [ ! -s "$1" ] || read -r passed failed skipped <"$1"
    PASSED=$((PASSED + passed))
    FAILED=$((FAILED + failed))
    SKIPPED=$((SKIPPED + skipped))
    say "== $2: $passed passed, $failed failed, $skipped skipped after $((SECONDS - STAGE_STARTED)) s"
}

begin_stage() {
    STAGE_STARTED=$SECONDS
    say ""
    say "== $1"
}

export SWIFT_BACKTRACE=enable=no
SANITIZE_FLAGS=()
if [ -n "$SANITIZER" ]; then
    SANITIZE_FLAGS=(--sanitize "$SANITIZER" --scratch-path "$ROOT/.build-$SANITIZER")
    # The Swift runtime keeps small allocations to the end of the process; they are not leaks of ours.
    export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
    export TSAN_OPTIONS="halt_on_error=1:abort_on_error=1${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
    export SKUPPER_TEST_SLOWNESS="${SKUPPER_TEST_SLOWNESS:-4}"
fi

run_tidy() {
    begin_stage tidy
    python3 Tests/Tidy/tidy.py "$SCRATCH/tidy" >&2 || true
    add_counts "$SCRATCH/tidy" tidy
}

run_unit() {
    begin_stage "unit tests${SANITIZER:+ under the $SANITIZER sanitizer}"
    local status=0
    timeout --kill-after=10 1500 "$SWIFT" test ${SANITIZE_FLAGS[@]+"${SANITIZE_FLAGS[@]}"} --disable-xctest \
        --xunit-output "$SCRATCH/unit.xml" >"$SCRATCH/unit.log" 2>&1 || status=$?
    if [ $status -ne 0 ]; then
        grep -vE '^(\[|✔|◇|➜)' "$SCRATCH/unit.log" | tail -n 120 >&2
    fi
    python3 - "$SCRATCH" "$status" <<'PYTHON'
import pathlib, sys, xml.etree.ElementTree as tree
folder, status = pathlib.Path(sys.argv[1]), int(sys.argv[2])
passed = failed = skipped = 0
for path in folder.glob("unit*.xml"):
    for case in tree.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
if status != 0 and failed == 0 or passed + failed == 0:
    failed += 1  # the build failed, a test crashed, or nothing ran at all
(folder / "unit").write_text(f"{passed} {failed} {skipped}\n")
PYTHON
    add_counts "$SCRATCH/unit" "unit tests"
}

build_for_integration() {
    [ -z "${SKUPPER_BIN:-}" ] || return 0
    if [ -n "$SANITIZER" ]; then
        say "Building the programs with the $SANITIZER sanitizer"
        "$SWIFT" build "${SANITIZE_FLAGS[@]}" >"$SCRATCH/build.log" 2>&1 || {
            grep -E 'error:' "$SCRATCH/build.log" | sort -u | head -n 40 >&2
            die "the build with the sanitizer failed"
        }
        SKUPPER_BIN="$("$SWIFT" build "${SANITIZE_FLAGS[@]}" --show-bin-path)"
    else
        build_programs "$ROOT"
        SKUPPER_BIN="$BIN"
    fi
    export SKUPPER_BIN
}

run_integration() {
    begin_stage "integration tests${SANITIZER:+ under the $SANITIZER sanitizer}"
    build_for_integration
    timeout --kill-after=10 2400 python3 Tests/Integration/run_suite.py Tests/Integration "$SCRATCH/integration" \
        ${NAMES[@]+"${NAMES[@]}"} >&2 || true
    add_counts "$SCRATCH/integration" "integration tests"
}

run_interop() {
    begin_stage "interop tests with the Proton client"
    build_for_integration
    local venv="$ROOT/.build/interop-venv"
    if ! "$venv/bin/python" -c 'import proton' >/dev/null 2>&1; then
        rm -rf "$venv"
        if ! { python3 -m venv "$venv" && timeout 400 "$venv/bin/pip" install -q 'python-qpid-proton>=0.39,<0.41'; } \
            >"$SCRATCH/pip.log" 2>&1; then
            tail -n 3 "$SCRATCH/pip.log" >&2
            say "SKIPPED: python-qpid-proton could not be installed from PyPI; the interop tests did not run"
            echo "0 0 1" >"$SCRATCH/interop"
            add_counts "$SCRATCH/interop" "interop tests"
            return 0
        fi
    fi
    timeout --kill-after=10 2700 "$venv/bin/python" Tests/Integration/run_suite.py Tests/Interop "$SCRATCH/interop" \
        ${NAMES[@]+"${NAMES[@]}"} >&2 || true
    add_counts "$SCRATCH/interop" "interop tests"
}

# Counts of instructions, allocations, copies and system calls; they do not depend on how busy the machine is.
run_gates() {
    begin_stage "performance gates"
    [ -z "$SANITIZER" ] || die "the gates count release programs, not sanitized ones"
    build_for_integration
    local status=0
    timeout --kill-after=10 600 perf/gates.sh --counts "$SCRATCH/gates" >"$SCRATCH/gates.log" 2>&1 || status=$?
    if [ $status -ne 0 ]; then
        grep -E 'FAILED|hold|rror' "$SCRATCH/gates.log" >&2 || tail -n 20 "$SCRATCH/gates.log" >&2
    fi
    add_counts "$SCRATCH/gates" "gates"
}

run_kubernetes() {
    begin_stage "tests with a Kubernetes API server"
    if [ ! -x "${KUBEBUILDER_ASSETS:-}/etcd" ] || [ ! -x "${KUBEBUILDER_ASSETS:-}/kube-apiserver" ]; then
        say "SKIPPED: KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver; the Kubernetes tests did not run"
        echo "0 0 1" >"$SCRATCH/kubernetes"
        add_counts "$SCRATCH/kubernetes" "Kubernetes tests"
        return 0
    fi
    build_for_integration
    local flags=(-c release --static-swift-stdlib)
    [ -z "$SANITIZER" ] || flags=("${SANITIZE_FLAGS[@]}")
    if [ ! -x "$SKUPPER_BIN/cluster-probe" ]; then
        "$SWIFT" build "${flags[@]}" --product cluster-probe >"$SCRATCH/probe.log" 2>&1 || {
            tail -n 20 "$SCRATCH/probe.log" >&2
            die "the build of cluster-probe failed"
        }
        SKUPPER_CLUSTER_PROBE="$("$SWIFT" build "${flags[@]}" --show-bin-path)/cluster-probe"
        export SKUPPER_CLUSTER_PROBE
    fi
    timeout --kill-after=10 2400 python3 Tests/Integration/run_suite.py Tests/Kubernetes "$SCRATCH/kubernetes" \
        ${NAMES[@]+"${NAMES[@]}"} >&2 || true
    add_counts "$SCRATCH/kubernetes" "Kubernetes tests"
}

install_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
find_swift

for stage in "${STAGES[@]}"; do
    "run_$stage"
done

say ""
say "The whole run took $SECONDS s."
echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
[ "$FAILED" -eq 0 ]
