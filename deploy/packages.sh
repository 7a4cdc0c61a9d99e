# Sourced by deploy/quickstart.sh, Tests/run.sh and perf/run.sh: what the build needs, and how to build.
# Installs only what is missing, so a machine that has everything needs neither root nor a network.

# Fail inside functions and pipes too, whoever sources us.
set -euo pipefail

# Development files of the C libraries that Package.swift names, and what the Swift linker needs on Debian 12.
BUILD_PACKAGES=(
    libuv1-dev libssl-dev libsasl2-dev libnghttp2-dev libevent-dev libyaml-dev libcurl4-openssl-dev libjansson-dev
    pkg-config libc6-dev libstdc++-12-dev binutils git
)
# Programs that the quickstart itself runs.
DEMO_PACKAGES=(python3 curl openssl)
# Programs that the tests run beside ours.
TEST_PACKAGES=(python3 python3-venv openssl curl libsasl2-modules)
# Compared programs and the compiler of the load generator.
PERF_PACKAGES=(iperf3 haproxy nginx libnginx-mod-stream stunnel4 gcc)
# What the gates count with.
GATE_PACKAGES=(valgrind gcc)

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# True when the Debian package $1 is installed.
is_installed() {
    [ "$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null)" = "install ok installed" ]
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "root is needed to run: $* (run it as root, or install sudo, and start again)"
    fi
}

# install_packages NAME...: apt-get those that are missing, and nothing when none is.
install_packages() {
    local name missing=()
    command -v dpkg-query >/dev/null || {
        say "note: this is not Debian; taking it that these are installed in some other way: $*"
        return 0
    }
    for name in "$@"; do
        is_installed "$name" || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Installing missing packages: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update >&2 ||
        die "apt-get update failed; check this machine's package sources, then start again"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" >&2 ||
        die "apt-get could not install: ${missing[*]}; install them by hand, then start again"
}

# find_swift: sets SWIFT to a Swift 6 compiler driver, from the PATH or /opt/swift.
find_swift() {
    local candidate
    for candidate in "${SWIFT:-}" "$(command -v swift || true)" /opt/swift/usr/bin/swift; do
        if [ -n "$candidate" ] && [ -x "$candidate" ]; then
            SWIFT="$candidate"
            break
        fi
    done
    [ -n "${SWIFT:-}" ] ||
        die "no Swift found. Install Swift 6.3 for Debian 12 from https://swift.org/install and put it on the PATH," \
            "or set SWIFT to the swift program, or unpack it as /opt/swift."
    # No pipe here: grep -q would close it early and pipefail would call that a failure.
    local version
    version="$("$SWIFT" --version 2>/dev/null || true)"
    [[ "$version" =~ Swift\ version\ ([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 6 ] ||
        die "$SWIFT is not Swift 6 or newer (it says: ${version%%$'\n'*}). Install Swift 6.3, or set SWIFT."
    export SWIFT
}

# build_programs ROOT: release build of the three programs; sets BIN to the folder that holds them.
build_programs() {
    local root="$1" log status=0
    local flags=(--package-path "$root" -c release --static-swift-stdlib)
    log="$(mktemp)"
    say "Building the release programs (a few minutes the first time, seconds afterwards)"
    local product
    for product in skupper-router skupper-controller skupper; do
        "$SWIFT" build "${flags[@]}" --product "$product" >>"$log" 2>&1 || {
            status=$?
            break
        }
    done
    if [ $status -ne 0 ]; then
        grep -E 'error:' "$log" | sort -u | head -n 40 >&2 || true
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "the release build failed; the compiler's first errors stand above"
    fi
    if grep -qE '^[^ ]+\.swift:[0-9]+:[0-9]+: warning:' "$log"; then
        say "note: the compiler gave warnings:"
        grep -E '^[^ ]+\.swift:[0-9]+:[0-9]+: warning:' "$log" | sort -u | head -n 20 >&2
    fi
    rm -f "$log"
    BIN="$("$SWIFT" build "${flags[@]}" --show-bin-path)"
    export BIN
}

# free_port [HOST]: prints a TCP port that nothing listens on now, outside the range the kernel hands to clients.
free_port() {
    python3 - "${1:-127.0.0.1}" <<'PYTHON'
import random, socket, sys
for _ in range(200):
    port = random.randint(20000, 30000)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((sys.argv[1], port))
        except OSError:
            continue
        print(port)
        break
else:
    sys.exit("no free port found between 20000 and 30000")
PYTHON
}

# build_load_tools ROOT FOLDER: compiles the load generator, the delay line, the minimal relay and the counter of calls.
build_load_tools() {
    local root="$1" folder="$2" name
    for name in load delay; do
        gcc -O2 -Wall -Wextra -Werror -o "$folder/$name" "$root/perf/load/$name.c"
    done
    gcc -O2 -Wall -Wextra -Werror -o "$folder/relay" "$root/perf/load/relay.c" -pthread -lcrypto
    gcc -O2 -Wall -Wextra -Werror -shared -fPIC -fno-builtin -o "$folder/calls.so" "$root/perf/load/calls.c" -ldl
}
