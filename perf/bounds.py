"""Ten thousand clients that read nothing: what two routers hold, with and without --max-memory, and what is left."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import harness_path  # noqa: F401  (puts the tests' harness on the path)
from harness import Authority, Process, Router, can_connect, free_port, wait_until

REST_SECONDS = 60


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
            processes.append(Process([load, "serve", target], folder / "serve.log"))
            for router in routers:
                router.arguments = ["--max-memory", limit] if limit else []
                processes.append(router.start().process)
            wait_until("the service", lambda: can_connect(port), 20)
            time.sleep(8)
            before = [megabytes(router) for router in routers]
            readers = subprocess.Popen([load, "slow", str(port), str(count)], stdin=subprocess.PIPE,
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", required=True)
    parser.add_argument("--count", type=int, default=10_000)
    arguments = parser.parse_args()
    faults = []
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
