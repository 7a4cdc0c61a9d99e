"""Starts the compared systems, measures them in turn, round after round, and reports the medians side by side.

Only figures of one run may be compared: the same program differs by half from a quiet to a busy hour of the machine.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import report
import systems
from systems import Setting, can_connect, free_port, wait_until
from harness import Authority  # systems.py has put its folder on the path

DELAYS = (20, 50, 100)


class Plan:
    """How long and how often."""

    def __init__(self, quick, rounds):
        self.rounds = rounds or (1 if quick else 5)
        self.seconds = 1 if quick else 3  # iperf3 takes whole ones only
        self.request_seconds = 1 if quick else 2
        self.delays = (50,) if quick else DELAYS
        self.delayed_seconds = 2 if quick else 4
        self.pages = 2 if quick else 5
        self.idle_connections = 1000 if quick else 10_000
        self.rest_seconds = 8 if quick else 60
        self.connections_before_rest = 5_000 if quick else 100_000
        self.connecting_seconds = 10 if quick else 40  # a slow system gets fewer of these connections


class Case:
    """One system with its samples."""

    def __init__(self, system, load):
        self.system, self.load = system, load
        self.name = system.name
        self.samples = {}
        self.failures = []

    def add(self, key, value):
        self.samples.setdefault(key, []).append(value)

    def median(self, key):
        values = self.samples.get(key)
        return statistics.median(values) if values else None

    def attempt(self, what, body):
        """Runs one measurement; a system that cannot do it has a gap in its column and the reason under the table."""
        try:
            body()
        except (AssertionError, RuntimeError, KeyError, OSError, ValueError, subprocess.TimeoutExpired) as error:
            self.failures.append(f"{what}: {error}")
            print(f"  {self.name}: {what} failed: {error}", file=sys.stderr, flush=True)

    def client(self, entries, kind, *arguments, seconds=60):
        done = subprocess.run([self.load, kind, str(entries["small"]), *map(str, arguments)], capture_output=True,
                              text=True, timeout=seconds + 60)
        if done.returncode != 0:
            raise RuntimeError(f"load {kind}: {done.stderr.strip()}")
        result = json.loads(done.stdout)
        if result["failures"]:
            self.failures.append(f"{kind}: {result['failures']} requests failed")
        return result

    def bulk(self, entries, streams, down, seconds):
        """(Gbit/s, octets, CPU-seconds, slowest stream ÷ mean of the streams) of one iperf3 run."""
        command = ["iperf3", "-c", "127.0.0.1", "-p", str(entries["bulk"]), "-t", str(seconds), "-P", str(streams)]
        command += ["-J", "-R"] if down else ["-J"]
        for _ in range(20):
            before = self.system.cpu_seconds()
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
            end = json.loads(done.stdout)
            if "busy" not in end.get("error", ""):
                break
            time.sleep(0.5)  # the server has not noticed yet that the run before is over
        if "error" in end:
            raise RuntimeError(f"iperf3: {end['error']}")
        total = end["end"]["sum_received"]
        each = [stream["receiver"]["bytes"] for stream in end["end"]["streams"]]
        cpu = self.system.cpu_seconds() - before
        return total["bits_per_second"] / 1e9, total["bytes"], cpu, min(each) / max(statistics.mean(each), 1)

    # --- one round ---

    def throughput(self, plan):
        for streams in (1, 8, 64):
            octets = cpu = 0
            for direction, down in (("up", False), ("down", True)):
                rate, moved, used, fair = self.bulk(self.system.entries, streams, down, plan.seconds)
                self.add(f"{direction}_{streams}", rate)
                octets += moved
                cpu += used
                if streams == 64:
                    self.add(f"fair_{direction}", fair)
                if self.system.processes:
                    self.add("rss_load", self.system.resident_megabytes())
            if self.system.processes:
                self.add(f"cpu_{streams}", cpu / (octets / 1e9))

    def requests(self, plan):
        for connections in (1, 32):
            result = self.client(self.system.entries, "latency", connections, plan.request_seconds)
            self.add(f"p50_{connections}", result["p50_us"])
            self.add(f"p99_{connections}", result["p99_us"])
            self.add(f"rate_{connections}", result["rate"])
        before = self.system.cpu_seconds()
        result = self.client(self.system.entries, "connect", 32, plan.request_seconds)
        self.add("connects", result["rate"])
        self.add("connect_p99", result["p99_us"])
        if self.system.processes:
            self.add("cpu_connect", (self.system.cpu_seconds() - before) / result["requests"] * 1000)

    def paced(self, plan, rate):
        result = self.client(self.system.entries, "paced", 32, plan.request_seconds, f"{rate:.0f}")
        self.add("p99_half", result["p99_us"])

    def delayed(self, entries, milliseconds, plan):
        rate = self.bulk(entries, 1, False, plan.delayed_seconds)[0]
        self.add(f"wan_{milliseconds}", rate * 1000)
        self.add(f"page_{milliseconds}", self.client(entries, "page", plan.pages)["p50_us"] / 1000)

    # --- memory ---

    def memory(self, plan):
        if not self.system.processes:
            return
        with self.held("hold", plan.idle_connections) as opened:
            self.add("rss_idle_connections", self.system.resident_megabytes())
            each = (self.system.resident_megabytes() - self.median("rss_idle")) * 1024 / max(opened, 1)
            self.add("rss_per_connection", max(each, 0))
        count = min(plan.connections_before_rest, int((self.median("connects") or 1000) * plan.connecting_seconds))
        self.add("connections_before_rest", self.client(
            self.system.entries, "connect", 64, f"{max(count, 64)}n", seconds=300)["requests"])

    @contextlib.contextmanager
    def held(self, kind, count):
        holder = subprocess.Popen([self.load, kind, str(self.system.entries["small"]), str(count)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            opened = json.loads(holder.stdout.readline())["open"]
            if opened < count:
                self.failures.append(f"{kind}: {opened} of {count} connections were opened")
            time.sleep(1)
            yield opened
        finally:
            holder.stdin.close()
            holder.wait(timeout=60)


def load_average():
    return os.getloadavg()[0]


def run_rounds(cases, delayed, setting, plan):
    loads = [load_average()]
    for number in range(plan.rounds):
        print(f"round {number + 1} of {plan.rounds} (load average {load_average():.1f})", file=sys.stderr, flush=True)
        for case in cases:
            case.attempt("throughput", lambda: case.throughput(plan))
        for case in cases:
            case.attempt("requests", lambda: case.requests(plan))
        peak = max((case.samples["rate_32"][-1] for case in cases if case.system.is_pair and "rate_32" in case.samples),
                   default=20_000)
        for case in cases:
            case.attempt("paced requests", lambda: case.paced(plan, peak / 2))
        for milliseconds in plan.delays:
            setting.set_delay(milliseconds)
            for case in cases:
                if case.name in delayed:
                    entries = delayed[case.name].entries
                    case.attempt(f"{milliseconds} ms", lambda: case.delayed(entries, milliseconds, plan))
        loads.append(load_average())
    return loads


def rest(cases, plan):
    print(f"resting {plan.rest_seconds} s", file=sys.stderr, flush=True)
    time.sleep(plan.rest_seconds)
    for case in cases:
        if case.system.processes:
            case.add("rss_rest", case.system.resident_megabytes())


def start_all(setting, stack):
    """The systems that run, and by name those that run behind the delay line as well."""
    cases, delayed = [], {}
    stack.callback(setting.stop)
    for start in systems.all_systems():
        try:
            cases.append(Case(start(setting), setting.tools / "load"))
        except (AssertionError, OSError, RuntimeError) as error:
            if start is systems.ours:
                raise
            print(f"{start.__name__} does not start and is left out: {error}", file=sys.stderr)
            continue
        with contextlib.suppress(AssertionError):
            delayed[cases[-1].name] = start(setting, delayed=True)
    return cases, delayed


def facts(arguments, plan, started, load_before, loads, cases):
    """All that the report needs, as it is written to the JSON file."""
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)), "took_seconds": round(time.time() - started),
        "commit": arguments.commit, "cores": os.cpu_count(), "processor": model.group(1) if model else "unknown",
        "kernel": os.uname().release, "programs": systems.versions(), "rounds": plan.rounds, "quick": arguments.quick,
        "load_average_before": round(load_before, 2), "load_averages": [round(value, 2) for value in loads],
        "idle_connections": plan.idle_connections, "connections_before_rest": plan.connections_before_rest,
        "connecting_seconds": plan.connecting_seconds, "rest_seconds": plan.rest_seconds,
        "pairs": [case.name for case in cases if case.system.is_pair],
        "systems": {case.name: {"samples": case.samples, "failures": case.failures} for case in cases},
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", required=True, type=pathlib.Path)
    parser.add_argument("--results", required=True, type=pathlib.Path)
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    arguments = parser.parse_args()
    plan = Plan(arguments.quick, arguments.rounds)
    started, load_before = time.time(), load_average()
    if load_before > 0.3 * (os.cpu_count() or 1):
        print(f"note: the load average is {load_before:.1f} before anything has started; absolute figures will be low",
              file=sys.stderr)
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skupper-perf-")))
        ports = {"bulk": free_port(), "small": free_port()}
        setting = Setting(folder, Authority(folder / "ca"), ports, arguments.tools)
        setting.spawn("iperf3", "iperf3", "-s", "-B", "127.0.0.1", "-p", ports["bulk"])
        setting.spawn("load", arguments.tools / "load", "serve", ports["small"])
        wait_until("the servers", lambda: all(can_connect(port) for port in ports.values()), 10)
        cases, delayed = start_all(setting, stack)
        time.sleep(min(plan.rest_seconds, 10))
        for case in cases:
            if case.system.processes:
                case.add("rss_idle", case.system.resident_megabytes())
        loads = run_rounds(cases, delayed, setting, plan)
        for case in cases:
            case.attempt("memory", lambda: case.memory(plan))
        rest(cases, plan)
    result = facts(arguments, plan, started, load_before, loads, cases)
    path = arguments.results / result["when"].replace(":", "")
    path.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    print(report.table(result))
    path.with_suffix(".svg").write_text(report.chart(result))
    print(f"\nwritten to {path}.json and {path.name}.svg")


if __name__ == "__main__":
    main()
