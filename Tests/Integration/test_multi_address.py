"""Listeners with several service addresses: the choice among them, and a socket that is open only when useful."""

import collections
import unittest

from amqp_wire import ManagementClient
from harness import SANITIZED, MeshCase, Server, connect, free_port, is_refused, wait_until

CONNECTIONS = 60 if SANITIZED else 300


class MultiAddress(MeshCase):
    def setUp(self):
        super().setUp()
        self.near, self.far = self.pair()
        self.port = free_port()

    def named_server(self, name):
        """A server that says its name and ends."""
        return self.keep(Server(lambda connection: connection.sendall(name.encode()) or connection.recv(1))).port

    def listener(self, strategy, **addresses):
        self.near.add("tcpListener", name="front", host="127.0.0.1", port=str(self.port),
                      multiAddressStrategy=strategy)
        for address, value in addresses.items():
            self.near.add("listenerAddress", name=f"front/{address}", listener="front", address=address, value=value)

    def started(self):
        self.near.start()
        self.far.start()

    def ask(self):
        with connect(self.port) as connection:
            name = connection.recv(100).decode()
            connection.sendall(b".")
            return name

    def become(self, name):
        def same():
            try:
                return self.ask() == name
            except OSError:
                return False
        wait_until(f"new connections to go to {name}", same, 10)

    def test_priority_takes_the_best_reachable_address(self):
        self.listener("priority", best=10, middle=5, last=0)
        for address in ("last", "middle"):
            self.far.tcp_connector(address, self.named_server(address), name=address)
        self.near.tcp_connector("best", self.named_server("best"), name="best")
        self.started()
        self.become("best")
        self.assertEqual({self.ask() for _ in range(20)}, {"best"})
        with ManagementClient(self.near.amqp_port) as near, ManagementClient(self.far.amqp_port) as far:
            held = connect(self.port)
            self.assertEqual(held.recv(100), b"best")
            near.delete("tcpConnector", "best")
            self.become("middle")
            far.delete("tcpConnector", "middle")
            self.become("last")
            far.create("tcpConnector", "middle", host="127.0.0.1", port=str(self.named_server("middle")),
                       address="middle")
            self.become("middle")
            # An address taken away from the listener is not used, although a consumer is there.
            near.delete("listenerAddress", "front/middle")
            self.become("last")
            far.delete("tcpConnector", "last")
            wait_until("the socket to be closed", lambda: is_refused(self.port), 10)
            held.close()

    def test_weights_are_shares(self):
        self.listener("weighted", heavy=3, light=1, never=0)
        for address in ("heavy", "light", "never"):
            self.far.tcp_connector(address, self.named_server(address))
        self.started()
        self.await_service(self.port)
        wait_until("both addresses to be used", lambda: {self.ask() for _ in range(20)} >= {"heavy", "light"}, 10)
        counts = collections.Counter(self.ask() for _ in range(CONNECTIONS))
        # Binomial with p = 1/4: five standard deviations, a chance of a false alarm below 1 in a million.
        expected, deviation = CONNECTIONS / 4, (CONNECTIONS * 3 / 16) ** 0.5
        self.assertLess(abs(counts["light"] - expected), 5 * deviation, counts)
        self.assertEqual(counts["never"], 0)
        with ManagementClient(self.near.amqp_port) as management:
            opened = {row["address"]: row["connectionsOpened"] for row in management.query("listenerAddress")}
            self.assertEqual(set(opened), {"heavy", "light", "never"})
            self.assertGreaterEqual(opened["heavy"], counts["heavy"])
            self.assertEqual(opened["never"], 0)

    def test_socket_is_open_only_while_an_address_is_reachable(self):
        self.listener("weighted", a=1, b=1)
        self.started()
        server = self.named_server("b")
        with ManagementClient(self.far.amqp_port) as far, ManagementClient(self.near.amqp_port) as near:
            self.assertTrue(is_refused(self.port))
            far.create("tcpConnector", "b", host="127.0.0.1", port=str(server), address="b")
            self.become("b")
            far.delete("tcpConnector", "b")
            wait_until("the socket to be closed", lambda: is_refused(self.port), 10)
            # A listener that still has addresses stays; without them it goes.
            status, text, _ = near.request("DELETE", type="io.skupper.router.tcpListener", name="front")
            self.assertEqual(status, 400, text)
            for address in ("a", "b"):
                near.delete("listenerAddress", f"front/{address}")
            near.delete("tcpListener", "front")

    def test_address_without_its_listener_is_refused_with_a_reason(self):
        self.near.tcp_listener("single", name="single")
        self.started()
        with ManagementClient(self.near.amqp_port) as near:
            for listener, word in (("nowhere", "nowhere"), ("single", "multiAddressStrategy")):
                status, text, _ = near.request(
                    "CREATE", {"address": "a", "value": 1, "listener": listener},
                    type="io.skupper.router.listenerAddress", name="x")
                self.assertEqual(status, 400, text)
                self.assertIn(word, text)


if __name__ == "__main__":
    unittest.main()
