"""Ten thousand clients that read nothing: what two routers hold, with and without --max-memory, and what is left; and
what one of them costs others."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import harness_path  # noqa: F401  (puts the tests' harness on the path)
from harness import Authority, Process, Router, can_connect, free_port, wait_until

REST_SECONDS = 60
ROUNDS = 7
ROUND_SECONDS = 2


def megabytes(router):
    return router.process.resident_kilobytes() / 1024


def measure(load, limit, count):
    """Figures of one pair of routers; `limit` is a size for --max-memory or None."""
    with tempfile.TemporaryDirectory(prefix="skupper-bounds-") as scratch:
        folder = pathlib.Path(scratch)
        authority = Authority(folder / "ca")
        far = Router("far", folder, authority)
        near = Router("near", folder, authority).connect_to(far.listen_for_routers())
        routers = [far, near]
        port, target = near.tcp_listener("service"), free_port()
        far.tcp_connector("service", target)
        processes = []
        try:
            processes.append(Process([load, "serve", target, "small"], folder / "serve.log"))
            for router in routers:
                router.arguments = ["--max-memory", limit] if limit else []
                processes.append(router.start().process)
            wait_until("the service", lambda: can_connect(port), 20)
            time.sleep(8)
            before = [megabytes(router) for router in routers]
            readers = subprocess.Popen([load, "slow", str(port), str(count), "small"], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
            opened = json.loads(readers.stdout.readline())
            time.sleep(10)
            held = [megabytes(router) for router in routers]
            still = int(near.metrics()["qdr_tcp_service_connections"])
            readers.stdin.close()
            readers.wait(60)
            time.sleep(REST_SECONDS)
            after = [megabytes(router) for router in routers]
            alive = all(router.process.is_alive() for router in routers)
        finally:
            for process in processes:
                process.kill()
    return {"limit": limit, "asked": count, "established": opened["open"], "refused": opened["failures"],
            "still there after 10 s": still, "MB before": before, "MB held": held,
            f"MB {REST_SECONDS} s after": after, "alive": alive}


def cpu_seconds(routers):
    """User and system time of these routers so far."""
    fields = (pathlib.Path(f"/proc/{router.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
              for router in routers)
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def cost_of_one(load):
    """Ratios with one stopped reader to without, round by round in turn."""
    with tempfile.TemporaryDirectory(prefix="skupper-bounds-") as scratch:
        folder = pathlib.Path(scratch)
        authority = Authority(folder / "ca")
        far = Router("far", folder, authority)
        near = Router("near", folder, authority).connect_to(far.listen_for_routers())
        port, target = near.tcp_listener("service"), free_port()
        far.tcp_connector("service", target)
        bulk, bulk_target = near.tcp_listener("bulk"), free_port()
        far.tcp_connector("bulk", bulk_target)
        names = ("Gbit/s, 4 streams down", "CPU a GB", "requests/s", "p99", "CPU a request")
        samples = {name: ([], []) for name in names}
        processes = []
        try:
            processes.append(Process([load, "serve", target], folder / "serve.log"))
            processes.append(Process(["iperf3", "-s", "-p", bulk_target], folder / "iperf.log"))
            processes += [router.start().process for router in (far, near)]
            wait_until("the services", lambda: can_connect(port) and can_connect(bulk), 20)
            for turn in range(2 * ROUNDS + 2):
                stopped = turn % 2
                reader = None
                if stopped:
                    reader = subprocess.Popen([load, "slow", str(port), "1"], stdin=subprocess.PIPE,
                                              stdout=subprocess.PIPE, text=True)
                    json.loads(reader.stdout.readline())
                start = cpu_seconds((far, near))
                answer = json.loads(subprocess.run(
                    ["iperf3", "-c", "127.0.0.1", "-p", str(bulk), "-R", "-P", "4", "-t", str(ROUND_SECONDS), "-J"],
                    capture_output=True, text=True, check=True).stdout)["end"]["sum_received"]
                between = cpu_seconds((far, near))
                requests = json.loads(subprocess.run([load, "latency", str(port), "32", str(ROUND_SECONDS)],
                                                     capture_output=True, text=True, check=True).stdout)
                end = cpu_seconds((far, near))
                if reader:
                    reader.stdin.close()
                    reader.wait(60)
                if turn < 2:
                    continue  # everybody warms up
                values = (answer["bits_per_second"] / 1e9, (between - start) / (answer["bytes"] / 1e9),
                          requests["rate"], requests["p99_us"], (end - between) / requests["requests"])
                for both, value in zip(samples.values(), values):
                    both[stopped].append(value)
        finally:
            for process in processes:
                process.kill()
    return {name: statistics.median(with_one) / statistics.median(without)
            for name, (without, with_one) in samples.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", required=True)
    parser.add_argument("--count", type=int, default=10_000)
    arguments = parser.parse_args()
    faults = []
    load = os.getloadavg()[0]
    is_busy = load > os.cpu_count()
    for name, ratio in cost_of_one(pathlib.Path(arguments.tools) / "load").items():
        print(f"with one stopped reader, of the value without: {name} {ratio:.3f}", flush=True)
        if is_busy and "CPU" not in name:
            continue  # other work on the machine moves times more than that
        if abs(ratio - 1) > 0.05 and (ratio < 1) == ("/s" in name):
            faults.append(f"one stopped reader costs others more than 5 %: {name} {ratio:.3f}")
    print(f"load average before: {load:.1f}" + (", so that only CPU time is judged" if is_busy else ""), flush=True)
    for limit in (None, "64MiB"):
        figures = measure(pathlib.Path(arguments.tools) / "load", limit, arguments.count)
        for name, value in figures.items():
            text = " / ".join(f"{each:.1f}" for each in value) if isinstance(value, list) else value
            print(f"{name}: {text}", flush=True)
        title = f"with {limit or 'no limit'}"
        if not figures["alive"]:
            faults.append(f"{title} a router ended")
        if figures["still there after 10 s"] < figures["established"]:
            faults.append(f"{title} established streams were lost")
        if limit and max(figures["MB held"]) > 64 * 1.048576:
            faults.append(f"{title} a router held more")
        if not limit and figures["refused"]:
            faults.append(f"{title} streams were refused")
        for idle, rest in zip(figures["MB before"], figures[f"MB {REST_SECONDS} s after"]):
            if rest > idle * 1.1 + 1:
                faults.append(f"{title} a router holds {rest:.1f} MB at rest, {idle:.1f} MB before")
    for fault in faults:
        print(f"FAULT {fault}")
    print("bounds: " + ("failed" if faults else "passed"))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
