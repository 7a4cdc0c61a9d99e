"""Clients that ask for much and read nothing: what two routers and their kernels hold for them, and what comes back."""

import os
import pathlib
import selectors
import socket
import threading
import unittest

from harness import SANITIZED, SLOWNESS, MeshCase, Server, connect, receive_exactly, wait_until

MEGABYTE = 1 << 20


def kernel_queue(port):
    """The longest queue of octets not acknowledged or not sent on a socket of 127.0.0.1 with this port of its own."""
    longest = 0
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01" and fields[1].endswith(f":{port:04X}"):
            longest = max(longest, int(fields[4].split(":")[0], 16))
    return longest


class Flood:
    """A server that sends without end on every connection, from one thread, and counts."""

    def __init__(self):
        self.sent = 0
        self.listener = socket.socket()
        # Little stays in the kernel's buffers at this end: what is looked at is the routers' part.
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(4096)
        self.port = self.listener.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.stopper, stopped = os.pipe()[::-1]
        self.selector.register(stopped, selectors.EVENT_READ)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.stopped = stopped
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        os.write(self.stopper, b"x")
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            if key.fd == self.stopped:
                os.close(key.fd)
            else:
                key.fileobj.close()
        os.close(self.stopper)
        self.selector.close()

    def _run(self):
        data = bytes(16384)
        while True:
            for key, _ in self.selector.select():
                if key.fd == self.stopped:
                    return
                if key.fileobj is self.listener:
                    connection, _ = self.listener.accept()
                    connection.setblocking(False)
                    self.selector.register(connection, selectors.EVENT_WRITE)
                    continue
                try:
                    self.sent += key.fileobj.send(data)
                except BlockingIOError:
                    pass
                except OSError:
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()


class StoppedReaders(MeshCase):
    def service(self, server_port):
        self.near, self.far = self.pair()
        port = self.near.tcp_listener("service")
        self.far.tcp_connector("service", server_port)
        self.far.start()
        self.near.start()
        self.await_service(port)
        return port

    @staticmethod
    def reader(port):
        """Its stream is established, and it reads no more."""
        client = socket.socket()
        client.settimeout(30 * SLOWNESS)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        receive_exactly(client, 1)
        return client

    @staticmethod
    def await_standstill(count):
        """Waits until `count()` has been the same twenty times in a row."""
        seen = []

        def stands():
            seen.append(count())
            return len(seen) > 20 and len(set(seen[-20:])) == 1
        wait_until("the streams to stand still", stands, 30, every=0.05)

    def megabytes(self, router):
        return router.process.resident_kilobytes() / 1024

    def test_kernel_holds_little_for_a_reader_that_stopped(self):
        with Flood() as server:
            port = self.service(server.port)
            with self.reader(port):
                self.await_standstill(lambda: server.sent)
                # 128 KB that it cannot send, the segment of 64 KB that was begun, and what is under way.
                self.assertLess(kernel_queue(port), 300_000)

    def test_kernel_holds_little_for_a_server_that_stopped(self):
        stop = threading.Event()
        server = Server(lambda connection: stop.wait(60 * SLOWNESS))
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with server:
            port = self.service(server.port)
            with connect(port) as client:
                client.setblocking(False)
                sent = [0]

                def push():
                    try:
                        while True:
                            sent[0] += client.send(bytes(65536))
                    except BlockingIOError:
                        return sent[0]
                self.await_standstill(push)
                queues = [int(line.split()[4].split(":")[0], 16)
                          for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
                          if line.split()[2].endswith(f":{server.port:04X}") and line.split()[3] == "01"]
                stop.set()
                self.assertTrue(queues)
                self.assertLess(max(queues), 300_000)

    @unittest.skipIf(SANITIZED, "a sanitizer keeps what was freed")
    def test_many_hold_little_each_and_memory_comes_back(self):
        with Flood() as server:
            port = self.service(server.port)
            before = [self.megabytes(router) for router in (self.near, self.far)]
            readers = [self.reader(port) for _ in range(150)]
            try:
                self.await_standstill(lambda: server.sent)
                # The first ones may hold a window of 1 MB each, up to 64 MB together and a few on top.
                held = self.megabytes(self.near)
                self.assertLess(held - before[0], 110)
                readers += [self.reader(port) for _ in range(400)]
                self.await_standstill(lambda: server.sent)
                # 32 KB each, and what goes with a stream.
                self.assertLess(self.megabytes(self.near) - held, 50)
                # Whoever reads gets everything, however much the others hold.
                with connect(port) as client:
                    receive_exactly(client, 8 * MEGABYTE)
                # While they stand still the routers come to rest, and give the links away that nobody uses.
                def links():
                    return [router.metrics()["qdr_links_total"] for router in (self.near, self.far)]
                most = max(links())
                for _ in range(200):
                    readers.pop().close()
                wait_until("unused links to go", lambda: max(links()) < most - 100, 40, every=0.5)
                self.await_standstill(lambda: tuple(links()))
            finally:
                for client in readers:
                    client.close()
            wait_until("memory to come back",
                       lambda: all(self.megabytes(router) < least + 6
                                   for router, least in zip((self.near, self.far), before)), 40, every=0.5)


if __name__ == "__main__":
    unittest.main()
