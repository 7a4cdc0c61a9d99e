"""A peer that goes away while its socket is not read, and a server with several addresses."""

import array
import contextlib
import fcntl
import json
import os
import select
import socket
import subprocess
import termios
import threading
import time
import unittest

from harness import BIN, SLOWNESS, Process, Server, connect, echo, exchange, free_port, receive_all, receive_exactly, \
    reset, wait_until
from test_streams import StreamCase

NOTICED = 3 * SLOWNESS
IDLE_CPU_SECONDS = 0.25 * SLOWNESS


def processor_seconds(router):
    fields = open(f"/proc/{router.process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill(connection):
    """Sends until neither side takes more: the windows on the whole way are used up. Returns the octets."""
    connection.setblocking(False)
    sent, quiet_since, data = 0, time.monotonic(), bytes(1 << 16)
    while time.monotonic() - quiet_since < 0.7 * SLOWNESS:
        try:
            sent += connection.send(data)
            quiet_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.02)
    return sent


def sees_reset(connection, seconds):
    """Whether the socket fails within that time although nothing is read from it."""
    poll = select.poll()
    poll.register(connection, 0)
    events = poll.poll(seconds * 1000)
    return bool(events) and connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (104, 32)


@contextlib.contextmanager
def deaf_port(host="127.0.0.1"):
    """A port where a connection is neither accepted nor refused: the queue of its listener is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, 0))
        listener.listen(0)
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def unsent(connection):
    """Octets that the other side has not acknowledged (SIOCOUTQ)."""
    count = array.array("i", [0])
    fcntl.ioctl(connection, termios.TIOCOUTQ, count)
    return count[0]


class Unread(StreamCase):
    def test_client_reset_is_noticed_while_its_socket_is_unread(self):
        results, hold = [], threading.Event()

        def server(connection):
            if hold.is_set():
                results.append(sees_reset(connection, 20 * SLOWNESS))

        port = self.service(server)
        hold.set()
        connection = connect(port)
        sent = fill(connection)
        self.assertGreater(sent, 1_000_000)
        self.assertEqual(results, [])
        started = time.monotonic()
        reset(connection)
        wait_until("the server to be told", lambda: results, NOTICED)
        self.assertEqual(results, [True], f"after {time.monotonic() - started:.1f} s")

    def test_server_reset_is_noticed_while_its_socket_is_unread(self):
        filled, go = threading.Event(), threading.Event()

        def server(connection):
            if fill(connection) > 1_000_000:
                filled.set()
            go.wait(20 * SLOWNESS)
            reset(connection)

        port = self.service(server)
        connection = connect(port)
        wait_until("the server to be stopped by the window", filled.is_set, 20)
        go.set()
        self.assertTrue(sees_reset(connection, NOTICED), "the client was not told of the server's reset")

    def test_unread_client_that_half_closed_costs_nothing_and_its_reset_is_noticed(self):
        with deaf_port() as dead:
            router = self.router("one")
            port = router.tcp_listener("dead")
            router.tcp_connector("dead", dead)
            router.start()
            self.await_service(port)
            # The probe of await_service leaves as soon as its reset or end is seen; nothing else changes the number.
            time.sleep(0.5)
            descriptors = router.process.descriptors()
            connection = connect(port)
            connection.sendall(b"not read before the server answers")
            connection.shutdown(socket.SHUT_WR)
            wait_until("the client to be accepted", lambda: router.process.descriptors() >= descriptors + 2, 5)
            before = processor_seconds(router)
            time.sleep(1.5)
            self.assertLess(processor_seconds(router) - before, IDLE_CPU_SECONDS,
                            "the router is busy with a client that sends nothing")
            reset(connection)
            wait_until("both sockets to be closed", lambda: router.process.descriptors() <= descriptors, NOTICED)


class LastWords(StreamCase):
    """What is said before a reset arrives before the reset."""

    TIMES = 60

    def answer_before(self, port, count):
        """What a client gets of a server that answers and resets, and whether the reset came after it."""
        with connect(port) as client:
            client.sendall(b"request")
            parts = []
            try:
                while part := client.recv(1 << 16):
                    parts.append(part)
            except ConnectionResetError:
                return b"".join(parts), True
            return b"".join(parts), False

    def test_answer_of_a_server_that_resets(self):
        data = os.urandom(8000)

        def server(connection):
            if count := len(connection.recv(1, socket.MSG_PEEK)) and self.count:
                connection.sendall(data[:count])  # and a reset: the request was not read

        self.count = 0
        port = self.service(server)
        for self.count in (1, 100, 8000):
            for number in range(self.TIMES):
                answer, is_reset = self.answer_before(port, self.count)
                self.assertEqual(len(answer), self.count, f"of connection {number} with {self.count} octets")
                self.assertEqual(answer, data[:self.count])
                self.assertTrue(is_reset)

    def test_long_answer_of_a_server_that_resets(self):
        """No longer than what a kernel takes at once: what waits beyond is lost with a reset, as anywhere."""
        data = os.urandom(40_000)

        def server(connection):
            if len(connection.recv(1, socket.MSG_PEEK)):
                connection.sendall(data)
                wait_until("the router to have it all", lambda: not unsent(connection), NOTICED)

        port = self.service(server)
        for number in range(20):
            answer, is_reset = self.answer_before(port, len(data))
            self.assertEqual(len(answer), len(data), f"of connection {number}")
            self.assertEqual(answer, data)
            self.assertTrue(is_reset)

    def test_last_octets_of_a_client_that_resets(self):
        received = []

        def server(connection):
            connection.sendall(b"hello")
            parts = []
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(1 << 16):
                    parts.append(part)
            received.append(b"".join(parts))

        port = self.service(server)
        for count in (1, 100, 8000):
            for number in range(self.TIMES):
                received.clear()
                client = connect(port)
                receive_exactly(client, len(b"hello"))
                client.sendall(b"x" * count)
                reset(client)
                wait_until(f"all {count} octets of connection {number}", lambda n=count: b"x" * n in received, NOTICED)


class Early(StreamCase):
    """A client that says all it has to say before the connector's router has reached the server."""

    def accept(self, listener, gate):
        while listener.fileno() >= 0:
            gate.wait()
            with contextlib.suppress(OSError, ValueError):
                if select.select([listener], [], [], 0.05)[0] and gate.is_set():
                    threading.Thread(target=self.serve, args=(listener.accept()[0],), daemon=True).start()

    @staticmethod
    def serve(connection):
        with connection, contextlib.suppress(OSError):
            echo(connection)

    @staticmethod
    def connects_under_way(port):
        lines = open("/proc/net/tcp").read().splitlines()[1:]
        return sum(line.split()[2].endswith(f":{port:04X}") and line.split()[3] == "02" for line in lines)

    def test_octets_and_end_that_come_before_the_server_is_reached(self):
        listener, gate = self.keep(socket.create_server(("127.0.0.1", 0), backlog=64)), threading.Event()
        server_port = listener.getsockname()[1]
        gate.set()
        threading.Thread(target=self.accept, args=(listener, gate), daemon=True).start()
        near, far = self.pair()
        port = near.tcp_listener("service")
        far.tcp_connector("service", server_port)
        near.start()
        far.start()
        self.await_service(port)
        self.assertEqual(exchange(port, b"first"), b"first")  # now it is known that a router of ours replies
        for count in (1, 16384, 30_000):
            gate.clear()
            listener.listen(0)
            data = os.urandom(count)
            with contextlib.ExitStack() as stack:
                for _ in range(8):
                    filler = stack.enter_context(socket.socket())
                    filler.setblocking(False)
                    filler.connect_ex(listener.getsockname())
                before = self.connects_under_way(server_port)
                client = self.keep(connect(port))
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                wait_until("the router to dial", lambda: self.connects_under_way(server_port) > before, 10)
                listener.listen(64)
            gate.set()
            self.assertEqual(receive_all(client), data)


class Addresses(StreamCase):
    """A connector's host with several addresses, from a hosts file only the router sees."""

    NAME = "service.test"

    def setUp(self):
        super().setUp()
        hosts = self.folder / "hosts"
        hosts.write_text("".join(f"127.0.0.{number} {self.NAME}\n" for number in (77, 78)))
        self.inside = ["unshare", "-Urm", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
        look = subprocess.run([*self.inside, "getent", "ahosts", self.NAME], capture_output=True, text=True)
        found = [line.split()[0] for line in look.stdout.splitlines() if "STREAM" in line]
        if look.returncode != 0 or len(found) != 2:
            self.skipTest(f"no hosts file of its own for a process here: {look.stderr.strip() or found}")
        self.first, self.second = found

    def serve_name(self, port):
        router = self.router("one")
        listener = router.tcp_listener("named")
        router.tcp_connector("named", port, host=self.NAME)
        router.config_path.write_text(json.dumps(router.entities))
        router.process = Process([*self.inside, BIN / "skupper-router", "-c", router.config_path],
                                 router.folder / "router.log")
        router.wait_healthy()
        self.await_service(listener)
        return listener

    def test_next_address_is_tried_when_the_first_refuses(self):
        server = self.keep(Server(echo, host=self.second))
        port = self.serve_name(server.port)
        for _ in range(3):
            self.assertEqual(exchange(port, b"to the second address"), b"to the second address")

    def test_next_address_is_tried_when_the_first_does_not_answer(self):
        with deaf_port(self.first) as port:
            self.keep(Server(echo, port=port, host=self.second))
            listener = self.serve_name(port)
            self.assertEqual(exchange(listener, b"late"), b"late")
            # The address that answered is tried first from now on.
            started = time.monotonic()
            self.assertEqual(exchange(listener, b"at once"), b"at once")
            self.assertLess(time.monotonic() - started, 1.5 * SLOWNESS)

    def test_client_is_told_when_every_address_refuses(self):
        port = self.serve_name(free_port())
        with contextlib.suppress(ConnectionResetError):  # which may come before the client has seen its connect succeed
            with connect(port) as connection:
                connection.settimeout(5 * SLOWNESS)
                self.assertEqual(connection.recv(1), b"")
        wait_until("the log to name the last address", lambda: self.second in self.routers[0].process.log(), 5)


if __name__ == "__main__":
    unittest.main()
