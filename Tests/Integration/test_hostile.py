"""Peers that send rubbish, lie, stop or vanish: their connection ends with a logged reason, all others go on."""

import contextlib
import random
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
import unittest

from amqp_wire import (AMQP_HEADER, ATTACH, BEGIN, FLOW, SASL_HEADER, TRANSFER, Described, Peer, PeerClosed,
                       Symbol, UByte, UInt, ULong, encode, frame, open_frame, performative, sasl_init)
from harness import (SANITIZED, SEED, SLOWNESS, Authority, CountingProxy, MeshCase, Server, client_context, connect,
                     echo, exchange, receive_all, receive_exactly, wait_until)


class HostileCase(MeshCase):
    """Two linked routers and a service; `attack` knows the inter-router port of `far`."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.intruder = cls.authority.issue("intruder")

    def setUp(self):
        super().setUp()
        server = self.keep(Server(echo))
        self.near = self.router("near", self.authority)
        self.far = self.router("far", self.authority)
        self.port = self.far.listen_for_routers()
        self.near.connect_to(self.port)
        self.service = self.near.tcp_listener("service")
        self.far.tcp_connector("service", server.port)
        self.far.start()
        self.near.start()
        self.await_service(self.service)
        self.held = connect(self.service)
        self.addCleanup(self.held.close)
        self.assert_others_go_on()
        self.mark = len(self.far.process.log())

    def assert_others_go_on(self):
        """The connection that was open before still works, and so does a new one."""
        self.held.sendall(b"still there?")
        self.assertEqual(receive_exactly(self.held, 12), b"still there?")
        data = random.Random(SEED).randbytes(300_000)
        self.assertEqual(exchange(self.service, data), data)
        self.assertTrue(self.far.process.is_alive())

    def assert_logged(self, pattern, seconds=5):
        wait_until(f"a log line that matches /{pattern}/",
                   lambda: re.search(pattern, self.far.process.log_since(self.mark), re.IGNORECASE), seconds)

    def context(self):
        return client_context(self.authority.certificate, self.intruder)

    def tls(self):
        """A TLS connection with a good certificate."""
        return self.context().wrap_socket(connect(self.port, timeout=10), server_hostname="127.0.0.1")

    def opened_peer(self):
        return Peer(self.tls(), "EXTERNAL", container="intruder").handshake()

    def assert_ended(self, connection, seconds=10):
        """The router ends the connection, in whatever way."""
        connection.settimeout(seconds * SLOWNESS)
        try:
            while connection.recv(65536):
                pass
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            pass
        connection.close()


class BeforeTLS(HostileCase):
    def test_garbage_instead_of_tls(self):
        for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(1000), random.Random(SEED).randbytes(5000),
                        b"\x16\x03\x01\xff\xff" + bytes(2000), SASL_HEADER):
            with self.subTest(first=garbage[:8]):
                self.mark = len(self.far.process.log())
                connection = connect(self.port, timeout=10)
                connection.sendall(garbage)
                connection.shutdown(socket.SHUT_WR)
                self.assert_ended(connection)
                self.assert_logged(r"tls|ssl|handshake")
        self.assert_others_go_on()

    def test_no_client_certificate_gets_nothing(self):
        context = client_context(self.authority.certificate)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version.name):
                self.mark = len(self.far.process.log())
                context.minimum_version = context.maximum_version = version
                received = self._what_it_gets(context)
                self.assertEqual(received, b"")
                self.assert_logged(r"certificate")
        self.assert_others_go_on()

    def test_certificate_of_another_authority_gets_nothing(self):
        other = Authority(self.class_folder / "other", "another CA")
        context = client_context(self.authority.certificate, other.issue("stranger"))
        received = self._what_it_gets(context)
        self.assertEqual(received, b"")
        self.assert_logged(r"certificate|unknown ca|verif")
        self.assert_others_go_on()

    def test_expired_client_certificate_gets_nothing(self):
        expired = self.authority.issue("expired", days=0)
        # A certificate of zero days is valid for the second in which it was made.
        wait_until("the certificate to expire", lambda: subprocess.run(
            ["openssl", "x509", "-checkend", "0", "-noout", "-in", expired / "tls.crt"],
            stdout=subprocess.DEVNULL, timeout=10).returncode != 0, 5)
        received = self._what_it_gets(client_context(self.authority.certificate, expired))
        self.assertEqual(received, b"")
        self.assert_logged(r"expired")

    def test_tls_before_1_2_is_refused(self):
        context = self.context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        with self.assertRaises((ssl.SSLError, OSError)):
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
            context.wrap_socket(connect(self.port, timeout=10), server_hostname="127.0.0.1")

    def test_connection_that_never_speaks(self):
        silent = [connect(self.port) for _ in range(50)]
        try:
            self.assert_others_go_on()
        finally:
            for connection in silent:
                connection.close()

    def test_wrong_server_certificate_stops_the_dialling_router(self):
        other = Authority(self.class_folder / "impostor", "impostor CA")
        impostor = self.router("impostor", other)
        port = impostor.listen_for_routers()
        impostor.start()
        victim = self.router("victim", self.authority).connect_to(port).start()
        wait_until("the dialling router to name the certificate",
                   lambda: re.search("certificate", victim.process.log(), re.IGNORECASE), 10)
        self.assertTrue(victim.process.is_alive())

    def _what_it_gets(self, context):
        """Every octet of application data that the router sends to this client."""
        try:
            with context.wrap_socket(connect(self.port, timeout=10), server_hostname="127.0.0.1") as connection:
                connection.sendall(SASL_HEADER)
                return receive_all(connection)
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
            return b""


class Capture(MeshCase):
    class Recorder(CountingProxy):
        """Keeps what crosses it, one byte string for each end of each connection."""

        def __init__(self, target_port):
            super().__init__(target_port)
            self.captured = {}

        def crossed(self, source, sink, data):
            super().crossed(source, sink, data)
            self.captured.setdefault(source, bytearray()).extend(data)

    def test_inter_router_port_carries_tls_records_only(self):
        server = self.keep(Server(echo))
        near, far = self.router("near", self.authority), self.router("far", self.authority)
        recorder = self.keep(self.Recorder(far.listen_for_routers()))
        near.connect_to(recorder.port)
        port = near.tcp_listener("service")
        far.tcp_connector("service", server.port)
        far.start()
        near.start()
        self.await_service(port)
        secret = b"the secret that must not be seen" * 1000
        self.assertEqual(exchange(port, secret), secret)
        streams = [bytes(stream) for stream in recorder.captured.values()]
        self.assertGreaterEqual(len(streams), 2)
        self.assertGreater(sum(map(len, streams)), 2 * len(secret))
        for stream in streams:
            self.assertNotIn(secret[:32], stream)
            at = 0
            while at + 5 <= len(stream):
                kind, version, length = struct.unpack(">BHH", stream[at:at + 5])
                self.assertIn(kind, (20, 21, 22, 23), "content type of a TLS record")
                # RFC 8446, section 5.1: 0x0301 may stand in the record of the first ClientHello only.
                self.assertIn(version, (0x0301, 0x0303) if at == 0 else (0x0303,))
                self.assertLessEqual(length, 16384 + 256)
                at += 5 + length


class AfterTLS(HostileCase):
    def test_garbage_after_the_handshake(self):
        for garbage in (random.Random(SEED).randbytes(4000), b"GET / HTTP/1.1\r\n\r\n", b"AMQP\x09\x01\x00\x00"):
            with self.subTest(first=garbage[:8]):
                self.mark = len(self.far.process.log())
                connection = self.tls()
                connection.sendall(garbage)
                self.assert_ended(connection)
                self.assert_logged(r"header|protocol|amqp|sasl")
        self.assert_others_go_on()

    def test_amqp_without_sasl_is_refused(self):
        connection = self.tls()
        connection.sendall(AMQP_HEADER + open_frame())
        self.assert_ended(connection)
        self.assert_others_go_on()

    def test_anonymous_is_refused(self):
        with self.assertRaises((PeerClosed, OSError)):
            Peer(self.tls(), "ANONYMOUS").handshake()
        self.assert_others_go_on()

    def test_frames_that_lie_about_their_size(self):
        cases = {
            "larger than we said we take": struct.pack(">IBBH", 1 << 20, 2, 0, 0) + bytes(1 << 20),
            "four gigabytes": struct.pack(">IBBH", 0xFFFFFFFF, 2, 0, 0) + bytes(1000),
            "smaller than its header": struct.pack(">IBBH", 7, 2, 0, 0) + bytes(100),
            "empty": bytes(8),
            "data offset past the end": struct.pack(">IBBH", 16, 200, 0, 0) + bytes(8),
            "data offset inside the header": struct.pack(">IBBH", 16, 1, 0, 0) + bytes(8),
            "unknown frame type": frame(performative(BEGIN, None, UInt(0), UInt(1), UInt(1)), kind=9),
            "not a performative": frame(encode("hello")),
            "unknown performative": frame(performative(0x99)),
            "list longer than the frame": frame(b"\x00\x53\x11\xd0\x00\xff\xff\xff\x00\x00\x00\x04\x40"),
            "list with too many elements": frame(b"\x00\x53\x11\xd0\x00\x00\x00\x05\x7f\xff\xff\xff\x40"),
            "nested without end": frame(b"\x00\x53\x11" + b"\xc0\xff\xff" * 3000),
            "second open": open_frame("again"),
            "transfer on no session": frame(performative(TRANSFER, UInt(0), UInt(0), b"x"), channel=7),
        }
        for name, data in cases.items():
            with self.subTest(frame=name):
                self.mark = len(self.far.process.log())
                peer = self.opened_peer()
                try:
                    peer.socket.sendall(data)
                except OSError:
                    pass
                self.assert_ended(peer.socket)
                # Some word about the connection that was ended must stand there.
                self.assert_logged(r"intruder|127\.0\.0\.1")
        self.assert_others_go_on()

    def test_exchange_cut_at_any_octet(self):
        exchange_bytes = (SASL_HEADER + sasl_init() + AMQP_HEADER + open_frame("intruder") +
                          frame(performative(BEGIN, None, UInt(0), UInt(100), UInt(100))) +
                          frame(performative(ATTACH, "x", UInt(0), False, UByte(2), UByte(0),
                                             Described(ULong(0x28), []), Described(ULong(0x29), ["service"]), None,
                                             None, UInt(0))))
        cuts = range(0, len(exchange_bytes), 20 if SANITIZED else 3)
        for cut in cuts:
            with self.tls() as connection:
                connection.sendall(exchange_bytes[:cut])
        self.assert_others_go_on()
        wait_until("the router to close every cut connection", lambda: self.far.process.descriptors() < 60, 20)

    def test_octets_changed_at_random(self):
        """Correct exchanges with one to four octets replaced: the router may end them, and must not end itself."""
        generator = random.Random(SEED)
        body = (open_frame("intruder") + frame(performative(BEGIN, None, UInt(0), UInt(100), UInt(100))) +
                frame(performative(ATTACH, "x", UInt(0), False, UByte(2), UByte(0), Described(ULong(0x28), ["a"]),
                                   Described(ULong(0x29), ["$management"]), None, None, UInt(0))) +
                frame(performative(FLOW, UInt(0), UInt(10), UInt(0), UInt(10))) +
                frame(performative(TRANSFER, UInt(0), UInt(0), b"t", UInt(0), True, False) +
                      encode(Described(ULong(0x77), {"a": [1, 2, {"b": None}]}))))
        for round_number in range(40 if SANITIZED else 200):
            spoiled = bytearray(body)
            for _ in range(generator.randrange(1, 5)):
                spoiled[generator.randrange(len(spoiled))] = generator.randrange(256)
            with self.tls() as connection:
                try:
                    connection.sendall(SASL_HEADER + sasl_init() + AMQP_HEADER + bytes(spoiled))
                except OSError:
                    pass
            self.assertTrue(self.far.process.is_alive(), f"round {round_number}, seed {SEED}")
        self.assert_others_go_on()

    @contextlib.contextmanager
    def unread_requests(self, **properties):
        """A client asks far's management again and again, 20,000 times at most, and reads no answer."""
        peer = Peer(connect(self.far.amqp_port), container="intruder").handshake()
        peer.send(BEGIN, None, UInt(0), UInt(1 << 30), UInt(1 << 30))
        peer.expect(BEGIN)
        peer.send(ATTACH, "replies", UInt(0), True, UByte(2), UByte(0),
                  Described(ULong(0x28), [None, UInt(0), Symbol("session-end"), UInt(0), True]),
                  Described(ULong(0x29), []))
        reply_to = peer.expect(ATTACH)[5].value[0]
        peer.send(FLOW, UInt(0), UInt(1 << 30), UInt(0), UInt(1 << 30), UInt(0), UInt(0), UInt(1 << 30))
        peer.send(ATTACH, "requests", UInt(1), False, UByte(2), UByte(0), Described(ULong(0x28), ["me"]),
                  Described(ULong(0x29), ["$management"]), None, None, UInt(0))
        message = (encode(Described(ULong(0x73), [None, None, "$management", None, reply_to, ULong(1)])) +
                   encode(Described(ULong(0x74), properties)) +
                   encode(Described(ULong(0x77), {"attributeNames": []})))
        stop = threading.Event()

        def flood():
            peer.socket.settimeout(1)
            for number in range(20_000):
                try:
                    peer.send(TRANSFER, UInt(1), UInt(number), struct.pack(">I", number), UInt(0), True, False,
                              payload=message)
                except OSError:
                    return
                if stop.is_set():
                    return

        sender = threading.Thread(target=flood, daemon=True)
        sender.start()
        try:
            yield
        finally:
            stop.set()
            sender.join(5)
            peer.socket.close()

    def test_peer_that_never_reads(self):
        """Management answers pile up for a client that reads none: bounded, and nobody else waits."""
        before = self.far.process.resident_kilobytes()
        with self.unread_requests(operation="QUERY", entityType="io.skupper.router.router.address"):
            deadline = time.monotonic() + 4
            while time.monotonic() < deadline:
                self.assert_others_go_on()
        if not SANITIZED:
            self.assertLess(self.far.process.resident_kilobytes() - before, 200_000)

    def test_answers_do_not_hold_up_what_neighbours_say(self):
        """Thousands of questions that take long to answer: HELLO are heard between them, and the link stays up."""
        for number in range(2000):
            self.far.tcp_connector(f"unused-{number}", 9)
        self.far.process.stop()
        self.far.restart()
        self.await_service(self.service, 20)
        self.held = connect(self.service)
        self.addCleanup(self.held.close)
        mark = len(self.near.process.log())
        with self.unread_requests(operation="QUERY", entityType="io.skupper.router.tcpConnector"):
            deadline = time.monotonic() + 6
            while time.monotonic() < deadline:
                self.assert_others_go_on()
        self.assertNotIn("is lost", self.near.process.log_since(mark))

    def test_peer_that_opens_and_then_sends_nothing(self):
        """It promised nothing about idle time, but takes ours: silence past it ends the connection."""
        peer = self.opened_peer()
        idle = peer.remote_open[4]
        self.assertIsNotNone(idle, "the router's Open carries an idle-time-out")
        self.assert_others_go_on()
        peer.socket.close()

    def test_many_connections_that_come_and_go(self):
        for _ in range(20 if SANITIZED else 100):
            self.tls().close()
        self.assert_others_go_on()
        wait_until("the router to close every one of them", lambda: self.far.process.descriptors() < 60, 20)


if __name__ == "__main__":
    unittest.main()
