#!/usr/bin/env bash
# Plays the linking procedure on this one host: two sites, one token, a web server reached through the network.
#
#   deploy/quickstart.sh          build, play, stop everything, exit 0
#   deploy/quickstart.sh --keep   the same, but leave it running and print how to look around and remove it
#
# Uses free ports only and a data home of its own, so it disturbs nothing else that runs here.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=deploy/packages.sh
. "$ROOT/deploy/packages.sh"

KEEP=no
for argument in "$@"; do
    case "$argument" in
        --keep) KEEP=yes ;;
        -h | --help)
            sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        *) die "unknown option '$argument'; the only one is --keep (try --help)" ;;
    esac
done

# --- what has to be undone -------------------------------------------------------------------------------------

HOME_DIR=""
WEB_PID=""
SITES=()
FINISHED=no

# Ids of the processes that were started for our data home, whatever else the host runs.
own_processes() {
    local entry pid
    for entry in /proc/[0-9]*; do
        pid="${entry#/proc/}"
        [ "$pid" != "$$" ] && [ "$pid" != "${BASHPID}" ] || continue
        [ "$(readlink "$entry/exe" 2>/dev/null || true)" != "" ] || continue
        case "$(readlink "$entry/exe" 2>/dev/null || true)" in
            "$BIN"/skupper-*) ;;
            *) continue ;;
        esac
        if tr '\0' '\n' <"$entry/environ" 2>/dev/null | grep -qxF "SKUPPER_OUTPUT_PATH=$HOME_DIR" ||
            tr '\0' '\n' <"$entry/cmdline" 2>/dev/null | grep -qF "$HOME_DIR/"; then
            echo "$pid"
        fi
    done
}

stop_everything() {
    local site pid deadline
    for site in ${SITES[@]+"${SITES[@]}"}; do
        skupper system uninstall --force -n "$site" >/dev/null 2>&1 ||
            skupper system stop -n "$site" >/dev/null 2>&1 || true
    done
    [ -z "$WEB_PID" ] || kill "$WEB_PID" 2>/dev/null || true
    [ -n "$HOME_DIR" ] || return 0
    deadline=$((SECONDS + 10))
    while [ -n "$(own_processes)" ] && [ $SECONDS -lt $deadline ]; do sleep 0.1; done
    for pid in $(own_processes); do
        say "note: process $pid did not stop within 10 s and is ended now"
        kill -9 "$pid" 2>/dev/null || true
    done
    rm -rf "$HOME_DIR"
}

show_logs() {
    local log
    [ -n "$HOME_DIR" ] || return 0
    find "$HOME_DIR" -type f -name '*.log' 2>/dev/null | sort | while read -r log; do
        say "--- last lines of $log"
        tail -n 25 "$log" >&2
    done
}

on_exit() {
    local status=$?
    trap - EXIT INT TERM
    if [ "$FINISHED" != yes ]; then
        [ $status -ne 0 ] || status=1
        say "The quickstart did not finish (exit code $status)."
        show_logs
        stop_everything
    elif [ "$KEEP" = no ]; then
        stop_everything
    fi
    exit $status
}
trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- telling and waiting ---------------------------------------------------------------------------------------

# run COMMAND...: print it as the reader would type it, then run it.
run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

chapter() { printf '\n# %s\n' "$*"; }

# wait_for SECONDS WHAT COMMAND...: until the command succeeds, or give up saying what was waited for.
wait_for() {
    local limit="$1" what="$2" deadline
    shift 2
    deadline=$((SECONDS + limit))
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $deadline ]; then
            say "error: gave up after $limit s waiting for $what"
            exit 1
        fi
        sleep 0.1
    done
}

# --- the play --------------------------------------------------------------------------------------------------

install_packages "${BUILD_PACKAGES[@]}" "${DEMO_PACKAGES[@]}"
find_swift
build_programs "$ROOT"

HOME_DIR="$(mktemp -d)"
export PATH="$BIN:$PATH"
export SKUPPER_PLATFORM=linux
export SKUPPER_OUTPUT_PATH="$HOME_DIR"
cd "$HOME_DIR"

chapter "Two sites on this host. West accepts links; east, behind its firewall, does not."
printf '\n$ export SKUPPER_PLATFORM=linux SKUPPER_OUTPUT_PATH=%s\n' "$HOME_DIR"
printf '$ cd %s\n' "$HOME_DIR"
SITES+=(west)
run skupper site create west -n west --enable-link-access
run skupper system start -n west
SITES+=(east)
run skupper site create east -n east
run skupper system start -n east

site_is_ready() { skupper site status -n "$1" | grep -qE '[[:space:]]Ready([[:space:]]|$)'; }
wait_for 20 "site west to be Ready" site_is_ready west
wait_for 20 "site east to be Ready" site_is_ready east
run skupper site status -n west

chapter "West issues a token: a file that can be exchanged for a certificate, once, within 15 minutes."
run skupper token issue west.yaml -n west

chapter "The file goes to east by any safe way. There it is redeemed, which makes the link."
run skupper token redeem west.yaml -n east

chapter "Sites exchange certificates, connect and find each other; the link is Pending and then Ready."
run skupper link status -n east
link_is_ready() { skupper link status -n east | grep -qE '[[:space:]]Ready[[:space:]]+1[[:space:]]+OK'; }
wait_for 20 "the link to be Ready" link_is_ready
run skupper link status -n east

chapter "A web server that only west can reach, offered to the network by a connector."
WEB_PORT="$(free_port)"
mkdir "$HOME_DIR/web"
echo "Hello from west, by way of two routers and one token." >"$HOME_DIR/web/index.html"
printf '\n$ python3 -m http.server --bind 127.0.0.1 --directory %s/web %s &\n' "$HOME_DIR" "$WEB_PORT"
python3 -m http.server --bind 127.0.0.1 --directory "$HOME_DIR/web" "$WEB_PORT" >"$HOME_DIR/web-server.log" 2>&1 &
WEB_PID=$!
wait_for 10 "the web server on 127.0.0.1:$WEB_PORT" curl -sf "http://127.0.0.1:$WEB_PORT/"
run skupper connector create backend "$WEB_PORT" --host 127.0.0.1 -n west

chapter "East listens for it, and a request in east is answered in west."
LISTEN_PORT="$(free_port)"
run skupper listener create backend "$LISTEN_PORT" --host 127.0.0.1 -n east
wait_for 20 "the listener on 127.0.0.1:$LISTEN_PORT to answer" curl -sf -m 3 "http://127.0.0.1:$LISTEN_PORT/"
run skupper listener status -n east
run curl -sS -m 10 "http://127.0.0.1:$LISTEN_PORT/"
curl -sS -m 10 "http://127.0.0.1:$LISTEN_PORT/" | cmp -s - "$HOME_DIR/web/index.html" ||
    die "the page that came through the network is not the page that the web server holds"

FINISHED=yes
if [ "$KEEP" = yes ]; then
    disown "$WEB_PID"
    cat <<KEPT

It is all still running. To look around, in this or another terminal:

    export PATH=$BIN:\$PATH SKUPPER_PLATFORM=linux SKUPPER_OUTPUT_PATH=$HOME_DIR
    skupper site status -n west
    skupper link status -n east
    skupper connector status -n west
    skupper listener status -n east
    curl http://127.0.0.1:$LISTEN_PORT/

To remove it:

    kill $WEB_PID
    skupper system uninstall --force -n east
    skupper system uninstall --force -n west
    rm -r $HOME_DIR
KEPT
else
    chapter "That was all of it. Everything is stopped and removed now."
fi
