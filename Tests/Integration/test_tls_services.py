"""TLS on services: a listener that ends its clients' TLS, a connector that starts TLS towards its server."""

import contextlib
import hashlib
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import unittest

from amqp_wire import ManagementClient
from harness import (SANITIZED, SEED, SLOWNESS, Authority, MeshCase, Server, client_context, connect, free_port,
                     receive_all, receive_exactly, wait_until)

OCTETS = (2 if SANITIZED else 30) * 1_000_000
CONNECTIONS = 20 if SANITIZED else 200


class TLSEnd:
    """One end of a TLS connection over memory, so that both directions end on their own."""

    def __init__(self, connection, context, server=False, name=None):
        self.socket = connection
        self.inward, self.outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inward, self.outward, server_side=server, server_hostname=name)
        self.early = []

    def _flush(self):
        data = self.outward.read()
        if data:
            self.socket.sendall(data)

    def _more(self):
        data = self.socket.recv(1 << 16)
        if data:
            self.inward.write(data)
        else:
            self.inward.write_eof()

    def handshake(self, then=b""):
        """`then` goes out in one piece with the last message of the handshake."""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._more()
        if then:
            self.tls.write(then)
        self._flush()
        return self

    def send(self, data):
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view[:1 << 16]):]
            self._flush()

    def finish(self):
        """close_notify and the end of the TCP direction; reading goes on."""
        # Python reads in unwrap, and octets that are there already would be an error.
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while data := self.tls.read(1 << 16):
                self.early.append(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self._flush()
        self.socket.shutdown(socket.SHUT_WR)

    def receive(self, count=1 << 16):
        """b"" after close_notify; an end of TCP without it is raised as SSLEOFError."""
        if self.early:
            return self.early.pop(0)
        while True:
            try:
                return self.tls.read(count)
            except ssl.SSLWantReadError:
                self._flush()
                self._more()
            except ssl.SSLZeroReturnError:
                return b""

    def receive_all(self):
        parts = []
        while data := self.receive():
            parts.append(data)
        return b"".join(parts)


class TLSServer(Server):
    """A server that speaks TLS; the handler gets a TLSEnd."""

    def __init__(self, handler, context, **options):
        def serve(connection):
            end = TLSEnd(connection, context, server=True).handshake()
            self.seen.append((end.tls.selected_alpn_protocol(), end.tls.getpeercert(), end.tls.version()))
            handler(end)
        self.seen = []
        super().__init__(serve, **options)


def tls_echo(end):
    while data := end.receive():
        end.send(data)
    end.finish()


def server_context(identity, ca=None, alpn=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(identity / "tls.crt"), str(identity / "tls.key"))
    if ca:
        context.load_verify_locations(str(ca))
        context.verify_mode = ssl.CERT_REQUIRED
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


class TLSCase(MeshCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.public = Authority(cls.class_folder / "public", name="public CA")
        cls.web = cls.public.issue("web")

    def profile(self, router, name="web", identity=None, **attributes):
        identity = identity or self.web
        router.add("sslProfile", name=name, certFile=str(identity / "tls.crt"),
                   privateKeyFile=str(identity / "tls.key"), caCertFile=str(identity / "ca.crt"), **attributes)

    def authority_profile(self, router, name="trust", authority=None):
        router.add("sslProfile", name=name, caCertFile=str((authority or self.public).certificate))

    def started(self, *routers):
        for router in routers:
            router.start()

    def client(self, alpn=None, identity=None, authority=None):
        context = client_context((authority or self.public).certificate, identity)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    def dial(self, port, context=None, then=b"", timeout=30):
        connection = self.keep(connect(port, timeout))
        return TLSEnd(connection, context or self.client(), name="localhost").handshake(then)

    def exchange(self, port, data, context=None, then_first=0):
        end = self.dial(port, context, then=data[:then_first])

        def send():
            with contextlib.suppress(OSError, ssl.SSLError):
                for start in range(then_first, len(data), 1 << 16):
                    end.send(data[start:start + (1 << 16)])
        # TLS objects are not for two threads: small data is sent first, large data is sent in steps.
        if len(data) <= 100_000:
            send()
            end.finish()
            return end.receive_all()
        answer, sent = [], then_first
        while sent < len(data):
            end.send(data[sent:sent + 50_000])
            sent = min(len(data), sent + 50_000)
            if sent > 200_000:
                answer.append(end.receive())
        end.finish()
        answer.append(end.receive_all())
        return b"".join(answer)

    def both(self, handler=tls_echo, **listener):
        """TLS on both outer sides: listener on `near`, connector on `far`."""
        self.server = self.keep(TLSServer(handler, server_context(self.web, alpn=["h2", "http/1.1"])))
        near, far = self.near, self.far = self.pair()
        self.profile(near)
        self.authority_profile(far)
        port = near.tcp_listener("secure", sslProfile="web", **listener)
        far.tcp_connector("secure", self.server.port, sslProfile="trust", host="localhost")
        self.started(near, far)
        self.await_service(port)
        return port

    def assert_logged(self, router, *words):
        wait_until(f"{router.name} to log {words}", lambda: all(word in router.process.log() for word in words), 10)


class Bytes(TLSCase):
    def test_tls_on_both_sides_returns_the_same_octets(self):
        port = self.both()
        generator = random.Random(SEED)
        for size in (0, 1, 16383, 16384, 16385, 65536, 521_216, 1_042_433, 3_000_000):
            data = generator.randbytes(size)
            self.assertEqual(self.exchange(port, data), data, f"{size} octets, seed {SEED}")

    def test_octets_in_one_packet_with_the_end_of_the_handshake(self):
        port = self.both()
        for size in (1, 5000, 60_000):
            data = random.Random(SEED).randbytes(size)
            self.assertEqual(self.exchange(port, data, then_first=size), data, f"{size} octets, seed {SEED}")

    def test_large_download_and_upload(self):
        block = random.Random(SEED).randbytes(1 << 20)

        def server(end):
            digest, octets = hashlib.sha256(), 0
            while data := end.receive():
                digest.update(data)
                octets += len(data)
            end.send(digest.digest())
            for _ in range(octets // len(block)):
                end.send(block)
            end.finish()

        port = self.both(server)
        end = self.dial(port)
        count = OCTETS // len(block)
        digest = hashlib.sha256()
        for _ in range(count):
            end.send(block)
            digest.update(block)
        end.finish()
        answer = end.receive_all()
        self.assertEqual(answer[:32], digest.digest(), f"seed {SEED}")
        self.assertEqual(len(answer), 32 + count * len(block))
        self.assertEqual(hashlib.sha256(answer[32:]).digest(), digest.digest(), f"seed {SEED}")

    def test_reader_that_stops_does_not_lose_anything(self):
        """The server sends more than every window holds; the client reads late."""
        block = random.Random(SEED).randbytes(6_000_000)
        port = self.both(lambda end: (end.send(block), end.finish()))
        end = self.dial(port)
        time.sleep(1.5)
        self.assertEqual(end.receive_all(), block, f"seed {SEED}")

    def test_tls_only_at_the_listener_or_only_at_the_connector(self):
        plain = self.keep(Server(self._plain_echo))
        secure = self.keep(TLSServer(tls_echo, server_context(self.web)))
        near, far = self.pair()
        self.profile(near)
        self.authority_profile(far)
        ending, starting = near.tcp_listener("ending", sslProfile="web"), near.tcp_listener("starting")
        far.tcp_connector("ending", plain.port)
        far.tcp_connector("starting", secure.port, sslProfile="trust")
        self.started(near, far)
        self.await_service(ending)
        self.await_service(starting)
        data = random.Random(SEED).randbytes(90_000)
        self.assertEqual(self.exchange(ending, data), data)
        with connect(starting) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(connection), data)

    @staticmethod
    def _plain_echo(connection):
        while data := connection.recv(1 << 16):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    def test_local_service_with_tls_on_both_sides(self):
        server = self.keep(TLSServer(tls_echo, server_context(self.web)))
        router = self.router("one")
        self.profile(router)
        self.authority_profile(router)
        port = router.tcp_listener("local", sslProfile="web")
        router.tcp_connector("local", server.port, sslProfile="trust")
        router.start()
        self.await_service(port)
        for size in (1, 100_000, 2_000_000):
            data = random.Random(SEED).randbytes(size)
            self.assertEqual(self.exchange(port, data), data, f"{size} octets, seed {SEED}")

    def test_many_connections_at_once_are_all_exact(self):
        port = self.both()
        wrong, generator = [], random.Random(SEED)
        messages = [generator.randbytes(generator.randrange(1, 60_000)) for _ in range(CONNECTIONS)]

        def run(data):
            try:
                if self.exchange(port, data) != data:
                    wrong.append("other octets")
            except Exception as error:  # noqa: BLE001 - reported below
                wrong.append(repr(error))
        threads = [threading.Thread(target=run, args=(data,)) for data in messages]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60 * SLOWNESS)
        self.assertEqual(wrong, [], f"seed {SEED}")


class Ends(TLSCase):
    def test_each_direction_ends_with_close_notify_on_its_own(self):
        """The client ends first, the server answers long afterwards; both see an authenticated end, not only TCP's."""
        got = []

        def server(end):
            got.append(end.receive_all())
            end.send(b"late answer" * 50_000)
            end.finish()

        port = self.both(server)
        end = self.dial(port)
        end.send(b"request")
        end.finish()
        self.assertEqual(end.receive_all(), b"late answer" * 50_000)
        self.assertIn(b"request", got)

    def test_server_ends_first_and_the_client_goes_on(self):
        got = []

        def server(end):
            end.send(b"done")
            end.finish()
            got.append(end.receive_all())

        port = self.both(server)
        end = self.dial(port)
        self.assertEqual(end.receive_all(), b"done")
        end.send(b"x" * 3_000_000)
        end.finish()
        wait_until("the server to have everything", lambda: b"x" * 3_000_000 in got, 20)

    def test_client_reset_is_no_orderly_end_for_the_server(self):
        ends = []

        def server(end):
            try:
                end.receive_all()
                ends.append("end")
            except (ssl.SSLEOFError, ConnectionResetError) as error:
                ends.append(type(error).__name__)

        port = self.both(server)
        ends.clear()
        end = self.dial(port)
        end.send(b"part of something")
        wait_until("the server to be reached", lambda: self.server.seen, 5)
        end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        end.socket.close()
        wait_until("the server to see the end", lambda: ends, 10)
        self.assertNotIn("end", ends)

    def test_client_that_says_nothing_is_cut_off(self):
        port = self.both()
        with connect(port, timeout=20) as connection:
            started = time.monotonic()
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(connection.recv(1), b"")
            self.assertGreater(time.monotonic() - started, 5)
        self.assert_logged(self.near, "TLS connection failed", "did not finish the handshake in time")

    def test_clear_text_client_is_refused_with_a_reason(self):
        port = self.both()
        with connect(port) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                receive_all(connection)
        self.assert_logged(self.near, "TLS connection failed", "http request")


class Peers(TLSCase):
    def test_authenticate_peer_wants_a_certificate_of_this_authority(self):
        port = self.both(authenticatePeer=True)
        for identity, words in ((None, "peer did not return a certificate"),
                                (Authority(self.folder / "other", "other CA").issue("someone"), "verify failed")):
            with self.assertRaises((ssl.SSLError, ConnectionResetError)):
                end = self.dial(port, self.client(identity=identity))
                end.receive()
            self.assert_logged(self.near, "TLS connection failed", words)
        data = b"with a certificate"
        self.assertEqual(self.exchange(port, data, self.client(identity=self.public.issue("client"))), data)

    def connector_case(self, identity, ca=None, profile=None, **attributes):
        server = self.keep(TLSServer(tls_echo, server_context(identity, ca)))
        router = self.router("one")
        if profile == "pair":
            self.profile(router, "trust", identity=self.public.issue("client"))
        else:
            self.authority_profile(router)
        port = router.tcp_listener("checked")
        router.tcp_connector("checked", server.port, sslProfile="trust", **attributes)
        router.start()
        self.await_service(port)
        self.server = server
        return router, port

    def assert_cut(self, port):
        with contextlib.suppress(ConnectionResetError, BrokenPipeError), connect(port) as connection:
            connection.settimeout(10 * SLOWNESS)
            connection.sendall(b"hello")
            self.assertEqual(connection.recv(10), b"")

    def plain_exchange(self, port, data):
        with connect(port) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return receive_all(connection)

    def test_server_of_another_name_is_refused_unless_names_are_not_verified(self):
        elsewhere = self.public.issue("elsewhere", hosts=("elsewhere.example",))
        router, port = self.connector_case(elsewhere)
        self.assert_cut(port)
        self.assert_logged(router, "TLS connection failed", "not valid for this host name")
        _, port = self.connector_case(elsewhere, verifyHostname=False)
        self.assertEqual(self.plain_exchange(port, b"any name"), b"any name")

    def test_server_of_another_authority_is_refused(self):
        other = Authority(self.folder / "other", "other CA")
        router, port = self.connector_case(other.issue("server"))
        self.assert_cut(port)
        self.assert_logged(router, "TLS connection failed", "certificate verify failed")

    def test_connector_shows_its_certificate(self):
        _, port = self.connector_case(self.web, ca=self.public.certificate, profile="pair")
        self.assertEqual(self.plain_exchange(port, b"known"), b"known")
        names = [dict(pair[0] for pair in peer["subject"])["commonName"] for _, peer, _ in self.server.seen if peer]
        self.assertEqual(set(names), {"client"})

    def test_server_that_is_not_tls_is_refused(self):
        server = self.keep(
            Server(lambda connection: connection.sendall(b"220 clear text\r\n") or receive_all(connection)))
        router = self.router("one")
        self.authority_profile(router)
        port = router.tcp_listener("clear")
        router.tcp_connector("clear", server.port, sslProfile="trust")
        router.start()
        self.await_service(port)
        self.assert_cut(port)
        self.assert_logged(router, "TLS connection failed", "wrong version number")


class Protocols(TLSCase):
    def test_application_protocol_reaches_the_server(self):
        port = self.both()
        for offered, expected in ((["http/1.1"], "http/1.1"), (["h2"], "h2"), (["h2", "http/1.1"], "http/1.1"),
                                  (["x", "h2"], "h2"), (None, None)):
            self.server.seen.clear()
            end = self.dial(port, self.client(alpn=offered))
            end.send(b"a")
            self.assertEqual(end.receive(1), b"a")
            self.assertEqual(end.tls.selected_alpn_protocol(), expected, offered)
            self.assertIn(expected, [seen[0] for seen in self.server.seen], offered)
            end.socket.close()
        with self.assertRaises(ssl.SSLError):
            self.dial(port, self.client(alpn=["spdy/1"]))

    def test_versions_and_ciphers_of_the_profile(self):
        server = self.keep(Server(Bytes._plain_echo))
        router = self.router("one")
        cipher = "ECDHE-RSA-AES256-GCM-SHA384"
        self.profile(router, "old", protocols="TLSv1.2", ciphers=cipher)
        self.profile(router, "new", protocols="TLSv1.3")
        old, new = router.tcp_listener("a", sslProfile="old"), router.tcp_listener("a", sslProfile="new")
        router.tcp_connector("a", server.port)
        router.start()
        self.await_service(old)
        self.await_service(new)
        end = self.dial(old)
        self.assertEqual((end.tls.version(), end.tls.cipher()[0]), ("TLSv1.2", cipher))
        end.send(b"b")
        self.assertEqual(end.receive(1), b"b")
        self.assertEqual(self.dial(new).tls.version(), "TLSv1.3")
        newest = self.client()
        newest.minimum_version = ssl.TLSVersion.TLSv1_3
        with self.assertRaises(ssl.SSLError):
            self.dial(old, newest)
        oldest = self.client()
        oldest.maximum_version = ssl.TLSVersion.TLSv1_2
        with self.assertRaises(ssl.SSLError):
            self.dial(new, oldest)

    def test_password_of_the_key(self):
        folder = self.folder / "locked"
        shutil.copytree(self.web, folder)
        subprocess.run(["openssl", "rsa", "-aes128", "-passout", "pass:open sesame", "-in", self.web / "tls.key",
                        "-out", folder / "tls.key"], check=True, capture_output=True)
        server = self.keep(Server(Bytes._plain_echo))
        router = self.router("one")
        self.profile(router, "locked", identity=folder, password="literal:open sesame")
        port = router.tcp_listener("a", sslProfile="locked")
        router.tcp_connector("a", server.port)
        router.start()
        self.await_service(port)
        self.assertEqual(self.exchange(port, b"opened"), b"opened")
        with ManagementClient(router.amqp_port) as management:
            management.create("sslProfile", "closed", certFile=str(folder / "tls.crt"),
                              privateKeyFile=str(folder / "tls.key"), password="wrong")
            status, text, _ = management.request(
                "CREATE", {"address": "b", "host": "127.0.0.1", "port": str(free_port()), "sslProfile": "closed"},
                type="io.skupper.router.tcpListener", name="refused")
            self.assertEqual(status, 400, text)
            self.assertIn("privateKeyFile", text)

    def test_what_a_client_says_before_it_resets_is_in_the_log(self):
        port = self.both()
        strangers = Authority(self.folder / "strangers", name="another CA")
        connection = connect(port)
        self.addCleanup(connection.close)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end = TLSEnd(connection, self.client(authority=strangers), name="localhost")
        with self.assertRaises(ssl.SSLError):
            end.handshake()
        # The router is stopped, so that it finds the alert and the reset together.
        self.near.process.send(signal.SIGSTOP)
        end._flush()
        connection.close()
        self.near.process.send(signal.SIGCONT)
        self.assert_logged(self.near, "unknown ca")


class Rotation(TLSCase):
    def test_new_connections_use_the_new_certificate_and_old_ones_go_on(self):
        folder = self.folder / "rotating"
        shutil.copytree(self.public.issue("first"), folder)
        server = self.keep(Server(Bytes._plain_echo))
        router = self.router("one")
        self.profile(router, "rotating", identity=folder)
        port = router.tcp_listener("a", sslProfile="rotating")
        router.tcp_connector("a", server.port)
        router.start()
        self.await_service(port)

        def shown(end):
            return dict(pair[0] for pair in end.tls.getpeercert()["subject"])["commonName"]

        def works(end):
            end.send(b"ping")
            self.assertEqual(end.receive(4), b"ping")
        old = self.dial(port)
        self.assertEqual(shown(old), "first")
        works(old)
        second = self.public.issue("second")
        for name in ("tls.crt", "tls.key"):
            shutil.copy(second / name, folder / name)
        with ManagementClient(router.amqp_port) as management:
            status, text, _ = management.request(
                "UPDATE", {"ordinal": 1}, type="io.skupper.router.sslProfile", name="rotating")
            self.assertEqual(status, 200, text)
            new = self.dial(port)
            self.assertEqual(shown(new), "second")
            works(new)
            works(old)
            # Files that do not fit are refused, and what was stays.
            (folder / "tls.key").write_text("no key")
            status, text, _ = management.request(
                "UPDATE", {"ordinal": 2}, type="io.skupper.router.sslProfile", name="rotating")
            self.assertEqual(status, 400, text)
            self.assertIn("privateKeyFile", text)
        newer = self.dial(port)
        self.assertEqual(shown(newer), "second")
        works(newer)


if __name__ == "__main__":
    unittest.main()
