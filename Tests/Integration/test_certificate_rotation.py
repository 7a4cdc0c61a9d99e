"""Newer certificates on a link between routers: no stream is lost, and the older ones can be retired."""

import shutil
import threading
import unittest

from amqp_wire import ManagementClient
from harness import MeshCase, Server, connect, echo, exchange, receive_exactly, wait_until


class LinkRotation(MeshCase):
    def connections(self, router):
        with ManagementClient(router.amqp_port) as management:
            return [row for row in management.query("connection") if row["role"].startswith("inter-router")]

    def update(self, router, **attributes):
        with ManagementClient(router.amqp_port) as management:
            management.update("sslProfile", "mesh", **attributes)

    def rotate(self, dial_from_listener_side):
        server = self.keep(Server(echo))
        near, far = self.pair(dial_from_listener_side)
        port = near.tcp_listener("service")
        far.tcp_connector("service", server.port)
        near.start()
        far.start()
        self.await_service(port)
        dialling = near if dial_from_listener_side else far
        # New files in the place of the old ones.
        newer = self.authority.issue(f"{dialling.name}-newer")
        identity = self.folder / "identity"
        shutil.copytree(newer, identity)
        for name in ("tls.crt", "tls.key"):
            shutil.copy(identity / name, dialling.identity / name)
        before = self.connections(dialling)
        count = len(before)
        self.assertEqual({row["tlsOrdinal"] for row in before}, {0})
        old_stream = self.keep(connect(port))
        old_stream.sendall(b"before")
        self.assertEqual(receive_exactly(old_stream, 6), b"before")
        stop, failures, done = threading.Event(), [], []

        def keep_asking():
            while not stop.is_set():
                try:
                    if exchange(port, b"again", timeout=5) != b"again":
                        failures.append("other octets")
                except OSError as error:
                    failures.append(repr(error))
                done.append(1)
        thread = threading.Thread(target=keep_asking)
        thread.start()
        try:
            marks = [(router, router.process.log()) for router in (near, far)]
            self.update(dialling, ordinal=3)
            wait_until("a second set of connections", lambda: len(self.connections(dialling)) == 2 * count, 10)
            wait_until("the new connection to take over",
                       lambda: all("takes over" in router.process.log()[len(mark):] for router, mark in marks), 10)
            start = len(done)
            wait_until("more answers", lambda: len(done) > start + 20, 10)
            old_stream.sendall(b"after")
            self.assertEqual(receive_exactly(old_stream, 5), b"after")
            for router, mark in marks:
                self.assertNotIn("is lost", router.process.log()[len(mark):])
        finally:
            stop.set()
            thread.join(20)
        self.assertEqual(failures, [])
        self.update(dialling, oldestValidOrdinal=3)
        wait_until("the old set to be closed", lambda: len(self.connections(dialling)) == count, 10)
        rows = self.connections(near) + self.connections(far)
        self.assertEqual({row["groupOrdinal"] for row in rows}, {3})
        self.assertEqual(exchange(port, b"still"), b"still")
        users = {row["user"] for row in self.connections(far if dialling is near else near)}
        self.assertEqual(users, {f"CN={dialling.name}-newer"})
        for router, mark in marks:
            self.assertNotIn("is lost", router.process.log()[len(mark):])

    def test_dialled_by_the_listener_side(self):
        self.rotate(True)

    def test_dialled_by_the_connector_side(self):
        self.rotate(False)


if __name__ == "__main__":
    unittest.main()
