"""Mixed load through two routers for a long time: every octet is compared, memory and descriptors must stay flat."""

import argparse
import hashlib
import json
import pathlib
import random
import socket
import sys
import tempfile
import threading
import time

import harness_path  # noqa: F401  (puts the tests' harness on the path)
from harness import Authority, Router, can_connect, wait_until

# Memory may grow by this between the first and the last fifth of the run: share, and megabytes on top.
GROWTH_SHARE, GROWTH_MEGABYTES = 0.15, 2.0
# A greater load runs before the first sample is taken, for this share of the run, with so many more readers that fall
# behind and bulk exchanges: each loop keeps up to 64 free slabs of 64 KB, and what a later burst left would look like
# a leak.
WARM_UP_SHARE = 1 / 6
WARM_UP_READERS, WARM_UP_BULK = 12, 8


class Echo:
    """A server that sends back what it gets, half-close included."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    @staticmethod
    def _serve(connection):
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass


class Load:
    """Threads of clients of five kinds, with what they have done and what went wrong."""

    def __init__(self, port, seed, until):
        self.port, self.seed, self.until = port, seed, until
        self.lock = threading.Lock()
        self.counts = {"exchanges": 0, "octets": 0, "resets": 0}
        self.errors = []
        self.threads = []

    def start(self, kind, number, until=None):
        for _ in range(number):
            generator = random.Random(f"{self.seed}/{kind.__name__}/{len(self.threads)}")
            self.threads.append(threading.Thread(target=self._repeat, args=(kind, generator, until or self.until)))
            self.threads[-1].start()

    def _repeat(self, kind, generator, until):
        while time.monotonic() < until and len(self.errors) < 20:
            try:
                kind(generator)
            except (OSError, AssertionError) as error:
                with self.lock:
                    self.errors.append(f"{time.strftime('%H:%M:%S')} {kind.__name__}: {error!r}")

    def done(self, octets, resets=0):
        with self.lock:
            self.counts["exchanges"] += 1
            self.counts["octets"] += octets
            self.counts["resets"] += resets

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.settimeout(60)
        return connection

    def exchange(self, generator, count, pause=0.0, end=False):
        """Sends `count` octets while another thread reads the echo; every octet must come back."""
        block = generator.randbytes(65536)
        digest = hashlib.sha256()
        with self.connect() as connection:
            def send():
                left = count
                while left > 0:
                    part = block[:min(left, len(block))]
                    digest.update(part)
                    connection.sendall(part)
                    left -= len(part)
                connection.shutdown(socket.SHUT_WR)
            sender = threading.Thread(target=send)
            sender.start()
            received, got = hashlib.sha256(), 0
            while data := connection.recv(65536):
                received.update(data)
                got += len(data)
                if pause:
                    time.sleep(pause)
            sender.join(60)
        assert got == count, f"{got} of {count} octets came back"
        assert received.digest() == digest.digest(), f"{count} octets came back changed"
        self.done(2 * count)

    def short(self, generator):
        self.exchange(generator, generator.randint(0, 5000))

    def medium(self, generator):
        self.exchange(generator, generator.randint(100_000, 5_000_000))

    def bulk(self, generator):
        self.exchange(generator, generator.randint(50_000_000, 200_000_000))

    def slow(self, generator):
        """A reader that falls far behind."""
        self.exchange(generator, generator.randint(1_000_000, 8_000_000), pause=0.02)

    def rude(self, generator):
        """Leaves in the middle, with a reset."""
        with self.connect() as connection:
            connection.sendall(generator.randbytes(generator.randint(1, 300_000)))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.done(0, resets=1)
        time.sleep(0.05)

    def talk(self, generator):
        """Requests on one connection, some time apart."""
        with self.connect() as connection:
            for _ in range(200):
                request = generator.randbytes(generator.randint(1, 4000))
                connection.sendall(request)
                answer = b""
                while len(answer) < len(request):
                    part = connection.recv(65536)
                    assert part, "the connection ended in the middle of an answer"
                    answer += part
                assert answer == request, f"an answer of {len(request)} octets differs"
                self.done(2 * len(request))
                time.sleep(generator.random() * 0.02)


def watch(routers, load, begin, until, samples):
    """A sample of memory and descriptors every few seconds, from `begin` on."""
    next_report = time.monotonic() + 60
    while time.monotonic() < until and len(load.errors) < 20:
        time.sleep(5)
        sample = {router.name: (router.process.resident_kilobytes() / 1024, router.process.descriptors())
                  for router in routers}
        if time.monotonic() >= begin:
            samples.append(sample)
        if time.monotonic() >= next_report:
            next_report += 60
            sizes = ", ".join(f"{name} {size:.1f} MB, {files} descriptors"
                              for name, (size, files) in sample.items())
            print(f"{time.strftime('%H:%M:%S')} {load.counts['exchanges']:,} exchanges, "
                  f"{load.counts['octets'] / 1e9:.1f} GB, {len(load.errors)} errors; {sizes}", flush=True)


def judge(routers, load, samples, rest):
    """What went wrong, as texts."""
    faults = list(load.errors)
    fifth = max(1, len(samples) // 5)
    for router in routers:
        first = max(sample[router.name][0] for sample in samples[:fifth])
        last = max(sample[router.name][0] for sample in samples[-fifth:])
        if last > first * (1 + GROWTH_SHARE) + GROWTH_MEGABYTES:
            faults.append(f"memory of router {router.name} grew from {first:.1f} to {last:.1f} MB")
        idle, files = rest["before"][router.name]
        size, open_files = router.process.resident_kilobytes() / 1024, router.process.descriptors()
        print(f"router {router.name}: {idle:.1f} MB before, at most {last:.1f} MB at the end of the load, "
              f"{size:.1f} MB at rest; descriptors {files} before, {open_files} at rest")
        if size > idle * 1.1 + 1:
            faults.append(f"router {router.name} holds {size:.1f} MB at rest, {idle:.1f} MB before")
        if open_files > files + 2:
            faults.append(f"router {router.name} holds {open_files} descriptors at rest, {files} before")
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes", flush=True)
    echo = Echo()
    with tempfile.TemporaryDirectory(prefix="skupper-soak-") as scratch:
        folder = pathlib.Path(scratch)
        authority = Authority(folder / "ca")
        far = Router("far", folder, authority)
        near = Router("near", folder, authority).connect_to(far.listen_for_routers())
        port = near.tcp_listener("service")
        far.tcp_connector("service", echo.port)
        routers = [far.start(), near.start()]
        try:
            wait_until("the service", lambda: can_connect(port), 20)
            time.sleep(8)
            rest = {"before": {router.name: (router.process.resident_kilobytes() / 1024, router.process.descriptors())
                               for router in routers}}
            begin = time.monotonic() + 60 * arguments.minutes * WARM_UP_SHARE
            until = begin + 60 * arguments.minutes
            load, samples = Load(port, arguments.seed, until), []
            for kind, number in ((load.short, 4), (load.medium, 3), (load.bulk, 1), (load.slow, 3), (load.rude, 2),
                                 (load.talk, 8)):
                load.start(kind, number)
            load.start(load.slow, WARM_UP_READERS, until=begin)
            load.start(load.bulk, WARM_UP_BULK, until=begin)
            watch(routers, load, begin, until, samples)
            for thread in load.threads:
                thread.join(300)
            time.sleep(60 if arguments.minutes >= 5 else 12)
            faults = judge(routers, load, samples, rest)
            if not all(router.process.is_alive() for router in routers):
                faults.append("a router ended")
        finally:
            for router in routers:
                router.process.kill()
    print(json.dumps(load.counts))
    for fault in faults:
        print(f"FAULT {fault}")
    print("soak: " + ("failed" if faults else "passed"))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
