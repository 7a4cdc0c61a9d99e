"""TCP services across two routers with mutual TLS: every octet arrives, and every kind of end is passed on."""

import asyncio
import hashlib
import os
import random
import socket
import threading
import time
import unittest

from harness import (LARGE, SANITIZED, SEED, SLOWNESS, MeshCase, Server, connect, echo, exchange, free_port,
                     receive_all, receive_exactly, reset, wait_until)

MEGA = 1_000_000
LARGE_OCTETS = int(os.environ.get("SKUPPER_TEST_OCTETS", 2_000 * MEGA if LARGE else (20 if SANITIZED else 200) * MEGA))
CONNECTIONS = int(os.environ.get("SKUPPER_TEST_CONNECTIONS", 200 if SANITIZED else 2000))
# More than the window of one stream (1,042,432 octets) many times over, so that it has to move.
HALF_CLOSE_OCTETS = (10 if SANITIZED else 100) * MEGA


class Pattern:
    """A long reproducible stream that no shift or repetition of itself equals: slices of a random block."""

    BLOCK = random.Random(SEED).randbytes(3_000_017)

    def __init__(self, octets, salt):
        self.octets, self.salt = octets, salt

    def chunks(self):
        generator, left = random.Random(f"{SEED}-{self.salt}"), self.octets
        while left:
            start = generator.randrange(len(self.BLOCK) - 200_000)
            chunk = memoryview(self.BLOCK)[start:start + min(left, generator.randrange(1, 200_000))]
            left -= len(chunk)
            yield chunk

    def digest(self):
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def send(self, connection):
        for chunk in self.chunks():
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)


def received_digest(connection):
    """(octets, SHA-256) of everything up to the end of the stream."""
    digest, octets, buffer = hashlib.sha256(), 0, bytearray(1 << 18)
    while count := connection.recv_into(buffer):
        digest.update(memoryview(buffer)[:count])
        octets += count
    return octets, digest.hexdigest()


class StreamCase(MeshCase):
    """Two routers and one service: the listener on `near`, the connector on `far`."""

    def service(self, handler, dial_from_listener_side=True):
        server = self.keep(Server(handler))
        near, far = self.pair(dial_from_listener_side)
        port = near.tcp_listener("service")
        far.tcp_connector("service", server.port)
        near.start()
        far.start()
        self.await_service(port)
        self.near, self.far, self.server = near, far, server
        return port


class ExactBytes(StreamCase):
    def test_echo_returns_the_same_octets(self):
        port = self.service(echo)
        generator = random.Random(SEED)
        for size in (0, 1, 2, 4071, 4072, 4073, 16383, 16384, 16385, 65535, 521_216, 1_042_432, 1_042_433, 3_000_000):
            data = generator.randbytes(size)
            self.assertEqual(exchange(port, data), data, f"{size} octets, seed {SEED}")

    def test_small_requests_one_after_another_on_one_connection(self):
        port = self.service(echo)
        with connect(port) as connection:
            for number in range(500):
                message = b"request %06d" % number
                connection.sendall(message)
                self.assertEqual(receive_exactly(connection, len(message)), message)

    def test_server_that_speaks_first(self):
        port = self.service(lambda connection: connection.sendall(b"220 ready\r\n"))
        with connect(port) as connection:
            self.assertEqual(receive_all(connection), b"220 ready\r\n")

    def test_listener_works_whichever_router_dialled(self):
        for dial_from_listener_side in (True, False):
            with self.subTest(listener_side_dials=dial_from_listener_side):
                port = self.service(echo, dial_from_listener_side)
                data = random.Random(SEED).randbytes(2_000_000)
                self.assertEqual(exchange(port, data), data)
                self._end()
                self.routers.clear()

    def test_services_in_both_directions_at_once(self):
        one, two = self.keep(Server(echo)), self.keep(Server(echo))
        near, far = self.pair()
        near_port, far_port = near.tcp_listener("one"), far.tcp_listener("two")
        far.tcp_connector("one", one.port)
        near.tcp_connector("two", two.port)
        near.start()
        far.start()
        for port in (near_port, far_port):
            self.await_service(port)
        data = random.Random(SEED).randbytes(5_000_000)
        answers = {}
        threads = [threading.Thread(target=lambda p=port: answers.update({p: exchange(p, data)}))
                   for port in (near_port, far_port)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60 * SLOWNESS)
        self.assertEqual({port: answer == data for port, answer in answers.items()},
                         {near_port: True, far_port: True})

    def test_local_service_needs_no_second_router(self):
        server = self.keep(Server(echo))
        alone = self.router("alone")
        port = alone.tcp_listener("service")
        alone.tcp_connector("service", server.port).start()
        self.await_service(port)
        data = random.Random(SEED).randbytes(3_000_000)
        self.assertEqual(exchange(port, data), data)


class ManyConnections(StreamCase):
    def test_concurrent_connections_of_mixed_sizes_are_all_exact(self):
        port = self.service(echo)
        self.server.__exit__()  # an asyncio server takes its place: 2,000 threads would measure Python
        generator = random.Random(SEED)
        sizes = [generator.choice((0, 1, 100, 5_000, 20_000, 66_000, 300_000)) for _ in range(CONNECTIONS)]
        sizes[:3] = [3_000_000, 2_000_000, 1_100_000]
        wrong = asyncio.run(asyncio.wait_for(self._all(port, sizes), 150 * SLOWNESS))
        self.assertEqual(wrong, [], f"seed {SEED}")
        for router in (self.near, self.far):
            self.assertTrue(router.process.is_alive())
        # Both routers must let go of everything: two sockets for each stream were open.
        for router in (self.near, self.far):
            wait_until(f"router {router.name} to close its sockets", lambda r=router: r.process.descriptors() < 100, 20)

    async def _all(self, port, sizes):
        server = await asyncio.start_server(self._echo, "127.0.0.1", self.server.port, backlog=4096)
        everyone_open = asyncio.Event()
        self.open_count = 0
        async with server:
            results = await asyncio.gather(
                *(self._one(port, number, size, len(sizes), everyone_open) for number, size in enumerate(sizes)),
                return_exceptions=True)
        return [(number, size, result) for number, (size, result) in enumerate(zip(sizes, results))
                if result is not True]

    async def _echo(self, reader, writer):
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        finally:
            writer.close()

    async def _one(self, port, number, size, total, everyone_open):
        data = random.Random(f"{SEED}-{number}").randbytes(size)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            # All are open at the same time before the first ends.
            self.open_count += 1
            if self.open_count == total:
                everyone_open.set()
            await everyone_open.wait()
            writer.write(data)
            writer.write_eof()
            answer = await reader.read(-1)
            return True if answer == data else f"{len(answer)} octets of {size} came back"
        finally:
            writer.close()


class LargeTransfers(StreamCase):
    def test_upload_download_and_both_at_once(self):
        up, down = Pattern(LARGE_OCTETS, "up"), Pattern(LARGE_OCTETS, "down")
        up_digest, down_digest = up.digest(), down.digest()
        uploads = []

        def server(connection):
            command = receive_exactly(connection, 1)
            sender = None
            if command in b"db":
                sender = threading.Thread(target=down.send, args=(connection,), daemon=True)
                sender.start()
            uploads.append(received_digest(connection))
            if sender:
                sender.join()
            elif command == b"u":
                connection.sendall(b"done")
                connection.shutdown(socket.SHUT_WR)

        port = self.service(server)
        for command in (b"u", b"d", b"b"):
            with self.subTest(direction={b"u": "up", b"d": "down", b"b": "both"}[command]):
                started = time.monotonic()
                uploads.clear()
                with connect(port, timeout=120) as connection:
                    connection.sendall(command)
                    sender = threading.Thread(target=up.send, args=(connection,), daemon=True)
                    if command == b"d":
                        connection.shutdown(socket.SHUT_WR)
                    else:
                        sender.start()
                    answer = received_digest(connection)
                    if command != b"d":
                        # Either direction may end first; leaving before ours has would be a reset.
                        sender.join(120 * SLOWNESS)
                if command in b"db":
                    self.assertEqual(answer, (LARGE_OCTETS, down_digest))
                else:
                    self.assertEqual(answer[0], 4)
                if command in b"ub":
                    wait_until("the server to have read to the end", lambda: uploads, 30)
                    self.assertEqual(uploads, [(LARGE_OCTETS, up_digest)])
                took = time.monotonic() - started
                print(f"  {LARGE_OCTETS / MEGA:.0f} MB {command.decode()} in {took:.1f} s", flush=True)


class Ends(StreamCase):
    """How a connection ends on one side is how it ends on the other."""

    def test_client_half_closes_and_the_server_sends_much_more(self):
        pattern = Pattern(HALF_CLOSE_OCTETS, "after the half-close")
        requests = []

        def server(connection):
            requests.append(receive_all(connection))
            pattern.send(connection)

        port = self.service(server)
        with connect(port) as connection:
            connection.sendall(b"that is all")
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(received_digest(connection), (HALF_CLOSE_OCTETS, pattern.digest()))
        self.assertIn(b"that is all", requests)  # readiness probes leave empty ones

    def test_server_half_closes_and_the_client_sends_much_more(self):
        pattern = Pattern(HALF_CLOSE_OCTETS, "after the half-close")
        received = []

        def server(connection):
            connection.sendall(b"go on")
            connection.shutdown(socket.SHUT_WR)
            received.append(received_digest(connection))

        port = self.service(server)
        with connect(port) as connection:
            self.assertEqual(receive_all(connection), b"go on")
            pattern.send(connection)
            # Readiness probes leave empty ones, some of them late.
            wait_until("the server to have read to the end", lambda: any(count for count, _ in received), 60)
        self.assertEqual([one for one in received if one[0] > 0], [(HALF_CLOSE_OCTETS, pattern.digest())])

    def test_refused_server_closes_the_client(self):
        port = self.service(echo)
        self.server.__exit__()
        try:
            with connect(port, timeout=10) as connection:
                self.assertEqual(connection.recv(100), b"")
        except ConnectionResetError:
            pass  # it can come before connect() has returned
        self.assertTrue(self.near.process.is_alive() and self.far.process.is_alive())
        wait_until("a log line of the refusal", lambda: "refused" in self.far.process.log().lower(), 5)

    def test_service_works_again_when_its_server_returns(self):
        port = self.service(echo)
        self.server.__exit__()
        try:
            with connect(port, timeout=10) as connection:
                self.assertEqual(connection.recv(100), b"")
        except ConnectionResetError:
            pass  # it can come before connect() has returned
        self.keep(Server(echo, port=self.server.port))
        self.assertEqual(exchange(port, b"again"), b"again")

    def test_server_reset_reaches_the_client_and_is_no_orderly_end(self):
        def server(connection):
            connection.sendall(b"x" * 300_000)
            receive_exactly(connection, 1)
            reset(connection)

        port = self.service(server)
        with connect(port) as connection:
            receive_exactly(connection, 300_000)
            connection.sendall(b"!")
            with self.assertRaises(ConnectionResetError, msg="a reset became an orderly end of stream"):
                receive_all(connection)

    def test_client_reset_reaches_the_server_and_is_no_orderly_end(self):
        ends = []

        def server(connection):
            try:
                receive_all(connection)
                ends.append("end of stream")
            except ConnectionResetError:
                ends.append("reset")

        port = self.service(server)
        wait_until("the probe's connection to end", lambda: ends, 10)
        ends.clear()
        before = self.server.accepted
        connection = connect(port)
        connection.sendall(b"y" * 300_000)
        wait_until("the server to have been reached", lambda: self.server.accepted > before, 5)
        reset(connection)
        wait_until("the server to see the end", lambda: ends, 10)
        self.assertEqual(ends, ["reset"])

    def test_client_that_vanishes_while_the_server_sends(self):
        ended = threading.Event()

        def server(connection):
            try:
                while True:
                    connection.sendall(bytes(65536))
            except OSError:
                ended.set()

        port = self.service(server)
        # The probe of await_service has ended one connection already.
        wait_until("the probe's connection to end", ended.is_set, 10)
        ended.clear()
        connection = connect(port)
        receive_exactly(connection, 500_000)
        reset(connection)
        wait_until("the server to be told", ended.is_set, 10)
        self.assertEqual(exchange_size(port, 100_000), 100_000)

    def test_everything_sent_before_a_close_arrives(self):
        received = []

        def server(connection):
            received.append(len(receive_all(connection)))

        port = self.service(server)
        wait_until("the probe's connection to end", lambda: received, 10)
        received.clear()
        for _ in range(20):
            with connect(port) as connection:
                connection.sendall(bytes(700_001))
        wait_until("twenty connections to be read to their end",
                   lambda: len(received) + len(self.server.errors) >= 20, 20)
        self.assertEqual(self.server.errors, [])
        self.assertEqual(received, [700_001] * 20)


def exchange_size(port, octets):
    """Reads that many octets from an endless sender, and leaves."""
    with connect(port) as connection:
        return len(receive_exactly(connection, octets))


class Fairness(StreamCase):
    def test_reader_that_stops_costs_the_others_nothing(self):
        def server(connection):
            command = receive_exactly(connection, 1)
            if command == b"e":
                return echo(connection)
            while True:
                connection.sendall(bytes(65536))

        port = self.service(server)
        stopped = [connect(port) for _ in range(10)]
        try:
            for connection in stopped:
                connection.sendall(b"s")
            # The senders have filled every buffer on the way when the first octets are there.
            for connection in stopped:
                receive_exactly(connection, 1)
            data = random.Random(SEED).randbytes(2_000_000)
            for _ in range(5):
                started = time.monotonic()
                self.assertEqual(exchange(port, b"e" + data), data)
                self.assertLess(time.monotonic() - started, 5 * SLOWNESS)
            # Ten stopped streams hold at most a window each, in each router: far below this.
            for router in (self.near, self.far):
                if not SANITIZED:
                    self.assertLess(router.process.resident_kilobytes(), 150_000)
        finally:
            for connection in stopped:
                connection.close()

    def test_listener_is_closed_while_nothing_consumes_the_address(self):
        near, far = self.pair()
        port = near.tcp_listener("nobody")
        near.start()
        far.start()
        with self.assertRaises(ConnectionRefusedError):
            connect(port, timeout=2)


if __name__ == "__main__":
    unittest.main()
