"""What the tests against skupper-router's own daemon share: both products behind one set of words.

A `skrouterd` is taken from the PATH or from the variable SKROUTERD; without one every class that uses
`needs_skrouterd` is skipped, and says so.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))

from amqp_wire import ManagementClient  # noqa: E402
from harness import (RANDOM, SLOWNESS, MeshCase, Process, Router, Server, connect, exchange,  # noqa: E402
                     has_failed, receive_exactly, wait_until)

SKROUTERD = os.environ.get("SKROUTERD") or shutil.which("skrouterd")
OURS, THEIRS = "ours", "theirs"
BOTH_WAYS = [(OURS, THEIRS), (THEIRS, OURS)]

needs_skrouterd = unittest.skipUnless(
    SKROUTERD, "no skrouterd on the PATH or in SKROUTERD: nothing was checked against skupper-router")


class Skrouterd(Router):
    """The same entities in skupper-router's own daemon."""

    def start(self, wait=True):
        self.config_path.write_text(json.dumps(self.entities, indent=1))
        self.process = Process([SKROUTERD, "-c", self.config_path, *self.arguments], self.folder / "router.log")
        if wait:
            self.wait_healthy(20)
        return self


class SkrouterdManagement(ManagementClient):
    # Its agent reads a correlation-id of any integer type and answers with an int or a long.
    correlation_type = int


class MixedCase(MeshCase):
    """Networks of both products. Routers carry their product in `product`."""

    def make(self, product, name, **attributes):
        kind = Router if product == OURS else Skrouterd
        router = kind(name, self.folder, self.authority, **attributes)
        router.product = product
        self.routers.append(router)
        return router

    def start_all(self, *routers):
        """Starts them at once and waits for all: skrouterd takes a second."""
        for router in routers or self.routers:
            router.start(wait=False)
        for router in routers or self.routers:
            router.wait_healthy(30)

    @contextlib.contextmanager
    def part(self, **parameters):
        """A sub-test that begins and ends with no router."""
        with self.subTest(**parameters):
            try:
                yield
            except BaseException:
                self.show_logs()
                raise
            else:
                if has_failed(self):
                    self.show_logs()  # A part of this part, which goes on with its others.
            finally:
                self.end_all()

    def show_logs(self):
        for router in self.routers:
            if router.process is not None:
                print(f"--- log of router {router.name} ({router.product})\n{router.process.log_tail(40)}", flush=True)

    def end_all(self):
        """Ends the routers so far. One of ours must end well; skrouterd now and then crashes on its way out."""
        routers, self.routers[:] = self.routers[:], []
        for router in routers:
            if router.process is None:
                continue
            ended = router.process.child.poll()
            code = router.process.stop(20)
            if router.product == OURS and ended != -signal.SIGKILL:
                self.assertEqual((ended or 0, code), (0, 0), f"{router.name} at its end:\n{router.process.log_tail()}")

    def _end(self):
        self.end_all_quietly()
        super()._end()

    def end_all_quietly(self):
        """The check of exit codes is `end_all`'s; what is left here belongs to a test that has failed or is single."""
        for router in [router for router in self.routers if router.product == THEIRS and router.process is not None]:
            self.routers.remove(router)
            if has_failed(self):
                print(f"--- log of router {router.name} (theirs)\n{router.process.log_tail(40)}", flush=True)
            router.process.stop(20)

    def management(self, router):
        return (ManagementClient if router.product == OURS else SkrouterdManagement)(router.amqp_port)

    def rows(self, router, kind, *attributes):
        with self.management(router) as management:
            return management.query(kind, *attributes)

    def nodes(self, router):
        """{id: row} of the routers that this one knows a way to; itself not among them.

        skrouterd goes on to show a neighbour that it has lost while nobody else has withdrawn it."""
        rows = self.rows(router, "router.node", "id", "nextHop", "cost", "instance")
        return {row["id"]: row for row in rows if row["id"] != router.name and row["cost"] is not None}

    def await_nodes(self, router, *names, seconds=20):
        return wait_until(
            f"{router.name} ({router.product}) to know exactly {sorted(names)}",
            lambda: (lambda known: known if set(known) == set(names) else None)(self.nodes(router)), seconds, 0.1)

    def exchanges(self, port, sizes=(1, 1000, 100_000, 3_000_000), times=2):
        """Exact bytes there and back on new connections.

        A listener opens when its router knows the address; a skrouterd on the way may learn of it a second later
        and until then refuses streams, so a first exchange is waited for."""
        self.await_exchange(port, 20)
        for size in sizes:
            for _ in range(times):
                data = RANDOM.randbytes(size)
                self.assertEqual(_digest(exchange(port, data)), _digest(data), f"{size} octets through port {port}")

    def await_exchange(self, port, seconds=20):
        def works():
            with contextlib.suppress(socket.timeout):
                return exchange(port, b"hello", timeout=3) == b"hello"
        wait_until(f"an exchange through port {port}", works, seconds)


def _digest(data):
    return len(data), hashlib.sha256(data).hexdigest()


def pattern(seed, at, count):
    """`count` octets of an endless text that differs at every offset up to 2^48: cheap, and a shift shows."""
    block = 1 << 16
    first = at // block
    parts = [hashlib.sha256(f"{seed}/{first + index}".encode()).digest() * (block // 32)
             for index in range((at + count - 1) // block - first + 1)]
    return b"".join(parts)[at - first * block:][:count]


def send_pattern(connection, seed, count):
    sent = 0
    while sent < count:
        size = min(1 << 20, count - sent)
        connection.sendall(pattern(seed, sent, size))
        sent += size


def receive_pattern(connection, seed, count):
    """Takes `count` octets and says where the first wrong one is."""
    got = 0
    while got < count:
        data = receive_exactly(connection, min(1 << 20, count - got))
        wanted = pattern(seed, got, len(data))
        if data != wanted:
            wrong = next(index for index in range(len(data)) if data[index] != wanted[index])
            raise AssertionError(f"octet {got + wrong} of {count} is wrong")
        got += len(data)
    return got


class Transfer:
    """A server that takes `count` octets of a pattern, then sends as many of another, and a client for it."""

    def __init__(self, count, seconds=300):
        self.count = count
        self.seconds = seconds

    def server(self):
        def handler(connection):
            connection.settimeout(self.seconds * SLOWNESS)
            receive_pattern(connection, "up", self.count)
            send_pattern(connection, "down", self.count)
        return Server(handler)

    def run(self, port):
        """Seconds that it took both ways."""
        started = time.monotonic()
        with connect(port, self.seconds) as connection:
            send_pattern(connection, "up", self.count)
            connection.shutdown(socket.SHUT_WR)
            receive_pattern(connection, "down", self.count)
            if connection.recv(1):
                raise AssertionError("more octets than were sent")
        return time.monotonic() - started


def at_once(count, work, seconds=300):
    """Runs `work(index)` in `count` threads, `seconds` at most, and gives what they raised."""
    errors = []

    def one(index):
        try:
            work(index)
        except Exception as error:  # noqa: BLE001 - the test shows them
            errors.append(f"{index}: {error!r}")

    threads = [threading.Thread(target=one, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds * SLOWNESS
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        errors.append(f"{sum(thread.is_alive() for thread in threads)} of {count} hang")
    return errors


class MixedNetwork:
    """Routers named in `theirs` are skrouterd's."""

    theirs = ()

    @classmethod
    def make(cls, name, **attributes):
        if name not in cls.theirs:
            return super().make(name, **attributes)
        router = Skrouterd(name, cls.network.folder, cls.authority, **attributes)
        cls.network.routers.append(router)
        return router
