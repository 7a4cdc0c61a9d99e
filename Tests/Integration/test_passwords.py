"""SASL PLAIN: clients and routers that come with a user name and a password."""

import unittest

from amqp_wire import ManagementClient, Peer, PeerClosed
from harness import MeshCase, Server, connect, echo, exchange, free_port, wait_until
from password_service import PasswordService

SECRET = "correct-horse-battery"


def plain(user, password, identity=""):
    return b"\0".join(part.encode() for part in (identity, user, password))


class PasswordCase(MeshCase):
    def setUp(self):
        super().setUp()
        self.service = self.keep(PasswordService(self.folder / "sasl", {"ann@here": SECRET}))

    def guarded(self, name, **attributes):
        """A router with a listener for clients that must have a password."""
        router = self.router(name, **self.service.settings)
        router.guarded_port = free_port()
        router.add("listener", **{"name": "guarded", "host": "127.0.0.1", "port": router.guarded_port,
                                  "saslMechanisms": "PLAIN", "authenticatePeer": True, **attributes})
        return router

    def peer(self, port, response, mechanism="PLAIN"):
        return Peer(self.keep(connect(port)), mechanism=mechanism, response=response)

    def rows(self, router, kind="connection"):
        with ManagementClient(router.amqp_port) as management:
            return management.query(kind)


class Clients(PasswordCase):
    def test_the_right_password_and_others(self):
        router = self.guarded("A").start()
        peer = self.peer(router.guarded_port, plain("ann@here", SECRET)).handshake()
        self.assertEqual(peer.mechanisms, ["PLAIN"])
        row = next(row for row in self.rows(router) if row["container"] == "test-peer")
        self.assertEqual((row["sasl"], row["user"], row["isAuthenticated"]), ("PLAIN", "ann@here", True))
        for response in (plain("ann@here", SECRET + "x"), plain("ann@here", ""), plain("bob@here", SECRET), b"",
                         plain("ann", SECRET), b"ann@here", plain("ann@here", SECRET, identity="root"),
                         plain("a" * 3000, "b" * 3000)):
            with self.assertRaisesRegex(PeerClosed, r"SASL refused: \[1\]"):
                self.peer(router.guarded_port, response).handshake()
        with self.assertRaisesRegex(PeerClosed, r"SASL refused: \[1\]"):
            self.peer(router.guarded_port, b"me", mechanism="ANONYMOUS").handshake()
        log = router.process.log()
        self.assertIn("takes passwords (PLAIN) in clear text", log)
        self.assertIn("SASL: PLAIN: authentication failure", log)
        self.assertNotIn(SECRET, log)
        peer.close()

    def test_without_a_password_where_none_is_asked_for(self):
        router = self.guarded("A", authenticatePeer=False, saslMechanisms="PLAIN ANONYMOUS SCRAM-SHA-256").start()
        peer = self.peer(router.guarded_port, b"me", mechanism="ANONYMOUS").handshake()
        self.assertEqual(peer.mechanisms, ["PLAIN", "ANONYMOUS"])
        self.assertIn("saslMechanisms: SCRAM-SHA-256 is not offered", router.process.log())
        self.peer(router.guarded_port, plain("ann@here", SECRET)).handshake()

    def test_a_check_that_takes_its_time_holds_up_nobody_else(self):
        router = self.guarded("A", initialHandshakeTimeoutSeconds=2)
        server = self.keep(Server(echo))
        router.tcp_connector("service", server.port)
        port = router.tcp_listener("service")
        router.start()
        self.await_service(port)
        self.service.hold.clear()
        waiting = [connect(router.guarded_port) for _ in range(4)]
        for peer in waiting:
            self.keep(peer).sendall(b"AMQP\3\1\0\0")
        refused = self.peer(router.guarded_port, plain("ann@here", SECRET))
        with self.assertRaises(PeerClosed):
            refused.handshake()  # Closed by the time-out, unanswered.
        self.assertEqual(self.service.asked, ["ann@here"])
        for _ in range(20):  # Every loop has a turn.
            self.assertEqual(exchange(port, b"hello"), b"hello")
            Peer(self.keep(connect(router.amqp_port))).handshake().close()
        self.service.hold.set()
        self.peer(router.guarded_port, plain("ann@here", SECRET)).handshake().close()

    def test_a_database_that_is_not_there(self):
        router = self.guarded("A").start()
        self.service.__exit__()
        with self.assertRaisesRegex(PeerClosed, r"SASL refused: \[[12]\]"):
            self.peer(router.guarded_port, plain("ann@here", SECRET)).handshake()
        self.service.__enter__()
        self.peer(router.guarded_port, plain("ann@here", SECRET)).handshake().close()


class Routers(PasswordCase):
    def test_a_link_with_a_password(self):
        """Over TLS where the listener's side alone has a certificate; the password comes from a file that is mended."""
        far = self.router("far", self.authority, **self.service.settings)
        port = far.listen_for_routers(saslMechanisms="PLAIN")
        near = self.router("near")
        near.add("sslProfile", name="mesh", caCertFile=str(far.identity / "ca.crt"))
        file = self.folder / "password"
        near.connect_to(port, saslUsername="ann@here", saslPassword=f"file:{file}")
        server = self.keep(Server(echo))
        far.tcp_connector("service", server.port)
        service = near.tcp_listener("service")
        far.start()
        near.start()

        def message():
            row, = self.rows(near, "connector")
            self.assertNotIn("saslPassword", {key for key, value in row.items() if value})
            return f"{row['connectionStatus']}: {row['connectionMsg']}"
        wait_until("the missing file to be told", lambda: str(file) in message(), 10)
        self.assertEqual(self.service.asked, [])
        file.write_text("wrong\n")
        wait_until("the refusal to be told", lambda: "refused SASL PLAIN with outcome code 1" in message(), 10)
        file.write_text(SECRET + "\n")
        self.await_service(service)
        self.assertEqual(exchange(service, b"x" * 300_000), b"x" * 300_000)
        for router, role in ((near, "inter-router"), (far, "inter-router")):
            rows = [row for row in self.rows(router) if row["role"].startswith(role)]
            self.assertGreater(len(rows), 1)
            self.assertEqual({(row["sasl"], row["user"], row["isEncrypted"]) for row in rows},
                             {("PLAIN", "ann@here", True)})
            self.assertNotIn(SECRET, router.process.log())
            with ManagementClient(router.amqp_port) as management:
                for kind in ("connector", "listener", "connection", "sslProfile", "router"):
                    self.assertNotIn(SECRET, str(management.query(kind)))


if __name__ == "__main__":
    unittest.main()
