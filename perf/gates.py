"""Counts what forwarding costs and compares it with what is recorded in perf/thresholds/gates.json.

Instructions come from callgrind; heap allocations, copied octets and system calls from a preloaded counter
(perf/load/calls.c). Clients ask one request after the other, so that the counts do not depend on how busy the machine
is; each is the least of several repetitions.
"""

import argparse
import contextlib
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import time

import harness_path  # noqa: F401  (puts the tests' harness on the path)
import harness
from harness import Authority, Process, Router, can_connect, free_port, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[1]
THRESHOLDS = ROOT / "perf/thresholds/gates.json"

# The order of perf/load/calls.c.
COUNTERS = ["allocations", "allocated_octets", "copied_octets", "read", "write", "writev", "epoll_wait", "epoll_ctl",
            "accept4", "close", "shutdown", "setsockopt", "getsockopt", "socket", "connect"]
SYSTEM_CALLS = COUNTERS[3:]

# What is counted: (name, arguments of the load generator, units, units under callgrind).
WORK = [
    ("connection", lambda n: ["connect", "1", f"{n}n"], 400, 100),
    ("request", lambda n: ["latency", "1", f"{n}n"], 2000, 300),
    ("megabyte", lambda n: ["bulk", str(n * 16), "62500"], 20, 4),
]


class Pair:
    """Two routers between a client and a server, each started through `wrap(name, command)`."""

    def __init__(self, folder, load, wrap):
        self.load = load
        authority = Authority(folder / "ca")
        port = free_port()
        self.server = Process([load, "serve", port], folder / "server.log")
        wait_until("the server", lambda: can_connect(port), 10)
        far = Router("far", folder, authority)
        near = Router("near", folder, authority).connect_to(far.listen_for_routers())
        self.entry = near.tcp_listener("service")
        far.tcp_connector("service", port)
        self.routers = {"near": near, "far": far}
        try:
            self.start(wrap, folder)
        except BaseException:
            self.stop()
            raise

    def start(self, wrap, folder):
        for name in ("far", "near"):
            router = self.routers[name]
            router.config_path.write_text(json.dumps(router.entities))
            command, environment = wrap(name, [str(harness.BIN / "skupper-router"), "-c", str(router.config_path)])
            router.process = Process(command, folder / f"{name}.log", environment)
        wait_until("the service", lambda: can_connect(self.entry), 60)
        for _, arguments, _, few in WORK:
            self.run(arguments(few))
        time.sleep(1)

    def run(self, arguments):
        kind, *rest = arguments
        done = subprocess.run([str(self.load), kind, str(self.entry), *rest], capture_output=True, text=True,
                              timeout=120)
        if done.returncode != 0 or json.loads(done.stdout)["failures"]:
            raise RuntimeError(f"load {kind} failed: {done.stdout}{done.stderr}")

    def stop(self):
        for router in self.routers.values():
            if router.process:
                router.process.kill()
        self.server.kill()


def count_calls(folder, load, preload, repetitions):
    """{work: {router: {measure: per unit}}}, without instructions."""
    folder.mkdir()
    pair = Pair(folder, load, lambda name, command: (
        command, {"LD_PRELOAD": str(preload), "CALLS_FILE": str(folder / f"{name}.calls")}))

    def counters():
        return {name: struct.unpack(f"{len(COUNTERS)}Q", (folder / f"{name}.calls").read_bytes()[:8 * len(COUNTERS)])
                for name in pair.routers}

    result = {}
    with contextlib.closing(_Stopping(pair)):
        for work, arguments, units, _ in WORK:
            for _ in range(repetitions):
                before = counters()
                pair.run(arguments(units))
                time.sleep(0.2)
                after = counters()
                for router in pair.routers:
                    raw = {counter: (last - first) / units
                           for counter, first, last in zip(COUNTERS, before[router], after[router])}
                    values = {key: raw[key] for key in COUNTERS[:3]}
                    values["system_calls"] = sum(raw[call] for call in SYSTEM_CALLS)
                    keep_least(result.setdefault(work, {}).setdefault(router, {}), values)
    return result


class _Stopping:
    def __init__(self, pair):
        self.close = pair.stop


def keep_least(kept, values):
    for key, value in values.items():
        kept[key] = min(value, kept.get(key, value))


def count_instructions(folder, load, repetitions, result):
    """Adds "instructions" to what count_calls returned."""
    folder.mkdir()
    pair = Pair(folder, load, lambda name, command: (
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder / name}.%p", *command], {}))

    def dump():
        for router in pair.routers.values():
            subprocess.run(["callgrind_control", "-d", str(router.process.pid)], capture_output=True, timeout=60,
                           check=True)

    def newest(name):
        files = sorted(folder.glob(f"{name}.*.*"), key=lambda path: int(path.suffix[1:]))
        return int(re.search(r"^totals: (\d+)", files[-1].read_text(), re.M).group(1))

    with contextlib.closing(_Stopping(pair)):
        for work, arguments, _, units in WORK:
            for _ in range(repetitions):
                dump()  # sets the counts back
                pair.run(arguments(units))
                dump()
                for router in pair.routers:
                    keep_least(result[work][router], {"instructions": newest(router) / units})


def compare(measured, recorded):
    """(lines, number of gates, number that failed)"""
    lines, gates, failed = [], 0, 0
    for work, routers in measured.items():
        for router, values in routers.items():
            for measure, value in sorted(values.items()):
                limit = recorded["limits"].get(work, {}).get(router, {}).get(measure)
                if limit is None:
                    continue
                gates += 1
                slack = recorded["tolerance"][measure]
                allowed = limit * (1 + slack["share"]) + slack["plus"]
                word = "ok"
                if value > allowed:
                    failed += 1
                    word = f"FAILED: more than {allowed:,.1f}"
                elif value < limit * (1 - 2 * slack["share"]) - slack["plus"]:
                    word = f"ok, and far below {limit:,.1f}: record it (perf/gates.sh --record)"
                lines.append(f"{router:5} {measure:17} per {work:11} {value:14,.1f}  recorded {limit:14,.1f}  {word}")
    return lines, gates, failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", required=True, type=pathlib.Path)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--without-instructions", action="store_true")
    parser.add_argument("--counts", help="a file for: passed failed skipped")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="skupper-gates-") as scratch:
        folder, load = pathlib.Path(scratch), arguments.tools / "load"
        measured = count_calls(folder / "calls", load, arguments.tools / "calls.so", 4)
        if not arguments.without_instructions:
            count_instructions(folder / "instructions", load, 2, measured)
    recorded = json.loads(THRESHOLDS.read_text())
    if arguments.record:
        for work, routers in measured.items():
            for router, values in routers.items():
                kept = recorded["limits"].setdefault(work, {}).setdefault(router, {})
                kept.update({measure: round(value, 1) for measure, value in sorted(values.items())})
        THRESHOLDS.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
        print(f"recorded in {THRESHOLDS}")
    lines, gates, failed = compare(measured, recorded)
    print("\n".join(lines))
    print(f"{gates - failed} of {gates} gates hold")
    if arguments.counts:
        pathlib.Path(arguments.counts).write_text(f"{gates - failed} {failed} 0\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
