"""Starts the compared systems, measures them in turn, round after round, and prints the medians side by side.

Only figures of one run may be compared: the same program differs by half from a quiet to a busy hour of the machine.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/Integration"))

from harness import Authority, Process, Router, can_connect, free_port, wait_until  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
IDLE_CONNECTIONS = 1000

# (key, what the table says, unit, larger is better)
ROWS = [
    ("up_1", "1 stream, client to server", "Gbit/s", True),
    ("down_1", "1 stream, server to client", "Gbit/s", True),
    ("up_8", "8 streams, client to server", "Gbit/s", True),
    ("down_8", "8 streams, server to client", "Gbit/s", True),
    ("cpu_1", "CPU of the pair, 1 stream", "s/GB", False),
    ("cpu_8", "CPU of the pair, 8 streams", "s/GB", False),
    ("p50_1", "64-octet request, 1 connection, p50", "us", False),
    ("p99_1", "64-octet request, 1 connection, p99", "us", False),
    ("p50_32", "64-octet request, 32 connections, p50", "us", False),
    ("p99_32", "64-octet request, 32 connections, p99", "us", False),
    ("rate_32", "requests, 32 connections", "1/s", True),
    ("connects", "new connections with one request each", "1/s", True),
    ("connect_p99", "such a connection, p99", "us", False),
]


class Case:
    """One way from the client to the servers: its two entry ports and the processes that are on the way."""

    def __init__(self, name, bulk_port, small_port, processes):
        self.name, self.bulk_port, self.small_port, self.processes = name, bulk_port, small_port, processes
        self.samples = {key: [] for key, *_ in ROWS}
        self.memory = {}

    def cpu_seconds(self):
        total = 0
        for process in self.processes:
            fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def resident_megabytes(self):
        """The larger of the pair, which is what a site has to hold."""
        return max((process.resident_kilobytes() for process in self.processes), default=0) / 1024

    def bulk(self, streams, down, seconds):
        """(Gbit/s, CPU-seconds for each GB) of one iperf3 run."""
        before = self.cpu_seconds()
        command = ["iperf3", "-c", "127.0.0.1", "-p", str(self.bulk_port), "-t", str(seconds), "-P", str(streams), "-J"]
        done = subprocess.run(command + (["-R"] if down else []), capture_output=True, text=True,
                              timeout=seconds + 30)
        report = json.loads(done.stdout)
        if "error" in report:
            raise RuntimeError(f"iperf3 through {self.name}: {report['error']}")
        octets = report["end"]["sum_received"]["bytes"]
        cpu = self.cpu_seconds() - before
        return report["end"]["sum_received"]["bits_per_second"] / 1e9, cpu / (octets / 1e9)

    def small(self, load, kind, connections, seconds):
        done = subprocess.run([load, kind, str(self.small_port), str(connections), str(seconds)], capture_output=True,
                              text=True, timeout=seconds + 30)
        if done.returncode != 0:
            raise RuntimeError(f"load {kind} through {self.name}: {done.stderr.strip()}")
        report = json.loads(done.stdout)
        if report["failures"]:
            print(f"  {self.name}: {report['failures']} failed requests in {kind}", flush=True)
        return report

    def measure(self, load, seconds):
        add = lambda key, value: self.samples[key].append(value)  # noqa: E731
        for streams in (1, 8):
            costs = []
            for direction, down in (("up", False), ("down", True)):
                rate, cost = self.bulk(streams, down, seconds)
                add(f"{direction}_{streams}", rate)
                costs.append(cost)
            add(f"cpu_{streams}", statistics.mean(costs))
        for connections in (1, 32):
            report = self.small(load, "latency", connections, seconds)
            add(f"p50_{connections}", report["p50_us"])
            add(f"p99_{connections}", report["p99_us"])
        add("rate_32", report["rate"])
        report = self.small(load, "connect", 32, seconds)
        add("connects", report["rate"])
        add("connect_p99", report["p99_us"])

    def idle_connections(self):
        """Kilobytes that each of many open and silent connections costs the dearer process of the pair."""
        before = [process.resident_kilobytes() for process in self.processes]
        held = []
        try:
            for _ in range(IDLE_CONNECTIONS):
                connection = socket.create_connection(("127.0.0.1", self.small_port), timeout=10)
                held.append(connection)
                connection.sendall(bytes(64))
            for connection in held:
                connection.settimeout(10)
                connection.recv(64)
            after = [process.resident_kilobytes() for process in self.processes]
            return max(a - b for a, b in zip(after, before)) / IDLE_CONNECTIONS
        finally:
            for connection in held:
                connection.close()


def our_pair(folder, authority, bulk_port, small_port):
    far = Router("far", folder, authority)
    near = Router("near", folder, authority).connect_to(far.listen_for_routers())
    entries = []
    for name, port in (("bulk", bulk_port), ("small", small_port)):
        entries.append(near.tcp_listener(name))
        far.tcp_connector(name, port)
    far.start()
    near.start()
    for port in entries:
        wait_until(f"our listener on port {port}", lambda p=port: can_connect(p), 15)
    return Case("skupper", *entries, [near.process, far.process])


def haproxy_pair(folder, authority, bulk_port, small_port):
    """TCP in, mutual TLS between, TCP out; the same cipher as ours, threads as HAProxy itself chooses."""
    common = """global
    maxconn 4000
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
    ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode tcp
    timeout connect 10s
    timeout client 120s
    timeout server 120s
"""
    pems = {}
    for name in ("haproxy-near", "haproxy-far"):
        identity = authority.issue(name)
        pems[name] = folder / f"{name}.pem"
        pems[name].write_text((identity / "tls.crt").read_text() + (identity / "tls.key").read_text())
    near, far, entries = common, common, []
    for name, port in (("bulk", bulk_port), ("small", small_port)):
        entry, between = free_port(), free_port()
        entries.append(entry)
        near += f"""frontend {name}
    bind 127.0.0.1:{entry}
    default_backend {name}
backend {name}
    server far 127.0.0.1:{between} ssl crt {pems['haproxy-near']} ca-file {authority.certificate} verify required \
sni str(localhost) verifyhost localhost
"""
        far += f"""frontend {name}
    bind 127.0.0.1:{between} ssl crt {pems['haproxy-far']} ca-file {authority.certificate} verify required
    default_backend {name}
backend {name}
    server it 127.0.0.1:{port}
"""
    processes = []
    for name, text in (("haproxy-far", far), ("haproxy-near", near)):
        path = folder / f"{name}.cfg"
        path.write_text(text)
        processes.append(Process([shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", path],
                                 folder / f"{name}.log"))
    for port in entries:
        try:
            wait_until(f"HAProxy's listener on port {port}", lambda p=port: can_connect(p), 10)
        except AssertionError:
            print("\n".join(process.log_tail() for process in processes))
            raise
    return Case("HAProxy", *entries, processes)


def summary(cases, arguments):
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": os.cpu_count(), "processor": model.group(1) if model else "unknown",
        "rounds": arguments.rounds, "seconds": arguments.seconds,
        "cases": {case.name: {"median": {key: statistics.median(values) for key, values in case.samples.items()},
                              "samples": case.samples, "memory": case.memory} for case in cases},
    }


def print_table(cases):
    ours, theirs = (next(case for case in cases if case.name == name) for name in ("skupper", "HAProxy"))
    names = [case.name for case in cases]
    print(f"\n{'':42} {'unit':7}" + "".join(f"{name:>12}" for name in names) + f"{'ours/HAProxy':>14}")

    def line(label, unit, values, ratio):
        cells = "".join(f"{value:12.2f}" if value is not None and value < 100 else
                        f"{value:12.0f}" if value is not None else f"{'-':>12}" for value in values)
        print(f"{label:42} {unit:7}{cells}{ratio:14.2f}")

    for key, label, unit, _ in ROWS:
        values = [statistics.median(case.samples[key]) for case in cases]
        if key.startswith("cpu"):
            values[names.index("loopback")] = None
        line(label, unit, values, statistics.median(ours.samples[key]) / statistics.median(theirs.samples[key]))
    for key, label, unit in (("idle", "RSS before any load, larger of the pair", "MB"),
                             ("loaded", "RSS after the load, larger of the pair", "MB"),
                             ("idle_connection", f"each of {IDLE_CONNECTIONS} idle connections", "KB")):
        values = [case.memory.get(key) for case in cases]
        line(label, unit, values, ours.memory[key] / max(theirs.memory[key], 0.01))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--load", required=True)
    parser.add_argument("--results", required=True, type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    arguments.rounds, arguments.seconds = (2, 2) if arguments.quick else (5, 4)
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skupper-perf-")))
        authority = Authority(folder / "ca")
        bulk_port, small_port = free_port(), free_port()
        servers = [Process(["iperf3", "-s", "-B", "127.0.0.1", "-p", bulk_port], folder / "iperf3.log"),
                   Process([arguments.load, "serve", small_port], folder / "load.log")]
        for server in servers:
            stack.callback(server.kill)
        wait_until("the servers", lambda: can_connect(small_port) and can_connect(bulk_port), 10)
        cases = [Case("loopback", bulk_port, small_port, [])]
        for start in (our_pair, haproxy_pair):
            case = start(folder, authority, bulk_port, small_port)
            cases.append(case)
            for process in case.processes:
                stack.callback(process.kill)
            case.memory["idle"] = case.resident_megabytes()
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", flush=True)
            for case in cases:
                case.measure(arguments.load, arguments.seconds)
        for case in cases[1:]:
            case.memory["loaded"] = case.resident_megabytes()
            case.memory["idle_connection"] = case.idle_connections()
    print_table(cases)
    result = summary(cases, arguments)
    path = arguments.results / f"{result['when'].replace(':', '')}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
