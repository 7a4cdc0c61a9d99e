"""Files of a listener's httpRootDir: exact octets, types, refusals; nothing outside the folder, little memory."""

import http.client
import os
import re
import socket
import ssl
import unittest

from amqp_wire import ManagementClient
from harness import SANITIZED, MeshCase, client_context, free_port, is_refused, wait_until


class ServedFiles(MeshCase):
    def setUp(self):
        super().setUp()
        self.hub = self.router("hub", self.authority)
        self.root = self.folder / "www"
        (self.root / "sub").mkdir(parents=True)
        (self.root / "empty").mkdir()
        (self.folder / "secret.txt").write_text("not yours")
        (self.folder / "www-other").mkdir()
        (self.folder / "www-other" / "x.txt").write_text("not yours")
        (self.root / "a b.txt").write_text("a text\n")
        (self.root / "metrics").write_text("a file in the way")
        (self.root / "index.html").write_text("<p>top")
        (self.root / "sub" / "index.html").write_text("<p>sub")
        (self.root / "nothing.json").write_text("")

    def serve(self, name, **attributes):
        port = free_port()
        self.hub.add("listener", name=name, host="127.0.0.1", port=port,
                     **{"http": True, "httpRootDir": str(self.root), **attributes})
        return port

    def ask(self, port, path, method="GET", context=None):
        kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
        connection = kind("127.0.0.1", port, timeout=10, **({"context": context} if context else {}))
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def test_files_folders_and_refusals(self):
        port = self.serve("files")
        hidden = self.serve("none", httpRootDir="disabled")
        self.hub.start()
        for path, kind, body in (("/a%20b.txt", "text/plain", b"a text\n"), ("/", "text/html", b"<p>top"),
                                 ("/sub/?x=1", "text/html", b"<p>sub"), ("/sub//./index.html", "text/html", b"<p>sub"),
                                 ("/nothing.json", "application/json", b"")):
            with self.subTest(path=path):
                status, headers, octets = self.ask(port, path)
                self.assertEqual((status, headers["Content-Type"], octets), (200, kind, body))
                status, headers, octets = self.ask(port, path, "HEAD")
                self.assertEqual((status, headers["Content-Length"], octets), (200, str(len(body)), b""))
        status, headers, _ = self.ask(port, "/.//sub")
        self.assertEqual((status, headers["Location"]), (301, "./sub/"))
        for path, method, wanted, words in (
                ("/nosuch", "GET", 404, b"no such file"), ("/sub/index.html/x", "GET", 404, b"no such file"),
                ("/empty/", "GET", 403, b"not listed"), ("/a%20b.txt", "POST", 405, b"GET and HEAD"),
                ("/a%20b.txt", "DELETE", 405, b"GET and HEAD")):
            with self.subTest(path=path, method=method):
                status, _, octets = self.ask(port, path, method)
                self.assertEqual(status, wanted)
                self.assertIn(words, octets)
        # What the router says itself comes first.
        self.assertIn(b"qdr_connections_total", self.ask(port, "/metrics")[2])
        self.assertEqual(self.ask(port, "/healthz")[2], b"OK\n")
        self.assertEqual(self.ask(hidden, "/index.html")[0], 404)

    def test_nothing_outside_the_folder(self):
        (self.root / "out").symlink_to(self.folder)
        (self.root / "out.txt").symlink_to("../secret.txt")
        (self.root / "beside").symlink_to(self.folder / "www-other" / "x.txt")
        (self.root / "inside.txt").symlink_to("sub/../a b.txt")
        (self.root / "loop").symlink_to("loop")
        os.mkfifo(self.root / "fifo")
        port = self.serve("files")
        self.hub.start()
        for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/.%2E/secret.txt", "/sub/../../secret.txt",
                     "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt", "/sub/..", "/out/secret.txt", "/out.txt", "/beside",
                     "/out/", "/x%00", "/%", "/%zz", "/%ff", "/fifo", "/..", "/" + "a/" * 3000):
            with self.subTest(path=path):
                status, _, octets = self.ask(port, path)
                self.assertEqual(status, 403)
                self.assertNotIn(b"not yours", octets)
        self.assertEqual(self.ask(port, "/loop")[0], 404)
        self.assertEqual(self.ask(port, "/%252e%252e/secret.txt")[0], 404)
        self.assertEqual(self.ask(port, "/inside.txt")[2], b"a text\n")

    def test_large_files_take_little_memory_and_wait_for_slow_readers(self):
        content = os.urandom(1 << 20) * 48
        (self.root / "large.bin").write_bytes(content)
        plain, secure = self.serve("plain"), self.serve("secure", sslProfile="mesh")
        self.hub.start()
        self.ask(plain, "/")
        before, descriptors = self.hub.process.resident_kilobytes(), self.hub.process.descriptors()
        held = []
        for _ in range(20):
            reader = socket.create_connection(("127.0.0.1", plain), timeout=10)
            reader.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertTrue(reader.recv(1000).startswith(b"HTTP/1.1 200"))
            held.append(reader)
        context = client_context(self.authority.certificate)
        self.assertTrue(self.ask(plain, "/large.bin")[2] == content)
        self.assertTrue(self.ask(secure, "/large.bin", context=context)[2] == content)
        if not SANITIZED:
            self.assertLess(self.hub.process.resident_kilobytes() - before, 20_000)
        for reader in held:
            reader.close()
        wait_until("the files of readers who left to be closed",
                   lambda: self.hub.process.descriptors() <= descriptors, 10)

    def test_a_file_cut_short_ends_its_connection_only(self):
        (self.root / "large.bin").write_bytes(bytes(32 << 20))
        plain, secure = self.serve("plain"), self.serve("secure", sslProfile="mesh")
        self.hub.start()
        context = client_context(self.authority.certificate)
        for port, wrap in ((plain, lambda raw: raw), (secure, lambda raw: context.wrap_socket(
                raw, server_hostname="127.0.0.1", suppress_ragged_eofs=True))):
            (self.root / "large.bin").write_bytes(bytes(32 << 20))
            with wrap(socket.create_connection(("127.0.0.1", port), timeout=10)) as reader:
                reader.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
                count = len(reader.recv(1000))
                os.truncate(self.root / "large.bin", 100)
                try:
                    while octets := reader.recv(1 << 20):
                        count += len(octets)
                except (ConnectionError, ssl.SSLError):
                    pass
                self.assertLess(count, 32 << 20)
            self.assertEqual(self.ask(plain, "/a%20b.txt")[2], b"a text\n")

    def test_one_connection_many_files(self):
        port = self.serve("files")
        self.hub.start()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            for path, wanted in (("/", b"<p>top"), ("/nosuch", None), ("/a%20b.txt", b"a text\n"),
                                 ("/healthz", b"OK\n"), ("/sub/", b"<p>sub")) * 20:
                connection.request("GET", path)
                octets = connection.getresponse().read()
                if wanted is not None:
                    self.assertEqual(octets, wanted)
        finally:
            connection.close()

    def test_the_listener_goes_while_a_file_is_sent(self):
        (self.root / "large.bin").write_bytes(bytes(32 << 20))
        port, other = self.serve("goes"), self.serve("stays")
        self.hub.start()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as reader:
            reader.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertTrue(reader.recv(100))
            with ManagementClient(self.hub.amqp_port) as management:
                management.delete("listener", "goes")
            wait_until("the port to be closed", lambda: is_refused(port), 10)
        self.assertEqual(self.ask(other, "/")[2], b"<p>top")

    def test_a_folder_that_is_not_there_is_said(self):
        port = self.serve("files", httpRootDir=str(self.folder / "later"))
        self.hub.start()
        self.assertRegex(self.hub.process.log(), re.compile("no files can be served from httpRootDir .*create the"))
        self.assertEqual(self.ask(port, "/x.txt")[0], 404)
        (self.folder / "later").mkdir()
        (self.folder / "later" / "x.txt").write_text("now")
        self.assertEqual(self.ask(port, "/x.txt")[2], b"now")


if __name__ == "__main__":
    unittest.main()
