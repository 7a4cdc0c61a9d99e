"""Fail-over lists: what a listener names in its open, and where a connector dials when its router is lost."""

import unittest

from amqp_wire import ManagementClient, Peer
from harness import CountingProxy, MeshCase, RouterCase, Server, connect, echo, exchange, free_port, wait_until


class Named(RouterCase):
    def test_the_open_of_a_listener_names_them(self):
        router = self.router("A")
        ports = [free_port(), free_port(), free_port()]
        for port, urls in zip(ports, (None, "other:25000", " second:25000, amqps://third,")):
            router.add("listener", name=f"l{port}", host="127.0.0.1", port=port,
                       **({"failoverUrls": urls} if urls else {}))
        router.start()
        expected = [None, [{"network-host": "other", "port": "25000"}],
                    [{"network-host": "second", "port": "25000"},
                     {"network-host": "third", "port": "5671", "scheme": "amqps"}]]
        for port, names in zip(ports, expected):
            peer = Peer(self.keep(connect(port))).handshake()
            properties = peer.remote_open[9] or {}
            self.assertEqual(properties.get("failover-server-list"), names)

    def test_a_client_may_be_nameless(self):
        router = self.router("A").start()
        Peer(self.keep(connect(router.amqp_port)), container="").handshake().close()

    def test_a_faulty_list_is_refused(self):
        router = self.router("A").start()
        with ManagementClient(router.amqp_port) as management:
            with self.assertRaisesRegex(Exception, "failoverUrls"):
                management.create("listener", "bad", host="127.0.0.1", port=str(free_port()), failoverUrls="amqp://")


class Dialled(MeshCase):
    def connections(self, router, role):
        """{container: number} of the connections of a role."""
        with ManagementClient(router.amqp_port) as management:
            found = {}
            for row in management.query("connection"):
                if row["role"] == role:
                    found[row["container"]] = found.get(row["container"], 0) + 1
            return found

    def urls(self, router):
        with ManagementClient(router.amqp_port) as management:
            return management.query("connector")[0]["failoverUrls"]

    def follow(self, role, mode):
        """A router whose connector knows of B alone, and follows B's list to C and back."""
        server = self.keep(Server(echo))
        b, c = self.router("B", self.authority), self.router("C", self.authority)
        nowhere = free_port()
        at_c = c.listen_for_routers(role=role)
        there = [f"amqp://127.0.0.1:{nowhere}", f"amqps://localhost:{at_c}"]
        at_b = b.listen_for_routers(role=role, failoverUrls=", ".join(there))
        own = f"amqp://127.0.0.1:{at_b}"
        for router in (b, c):
            router.tcp_connector("service", server.port)
        a = self.router("A", self.authority, mode=mode)
        a.connect_to(at_b, role=role)
        port = a.tcp_listener("service")
        for router in (b, c, a):
            router.start()
        self.await_service(port)
        self.assertEqual(self.urls(a), ", ".join([own, *there]))
        self.assertEqual(set(self.connections(a, role)), {"B"})
        count = self.connections(a, role)["B"]
        data = self.connections(a, "inter-router-data")

        def moved(to):
            return (self.connections(a, role), self.connections(a, "inter-router-data")) == (
                {to: count}, {to: number for number in data.values()})
        b.process.kill()
        wait_until("the connector to be at C with all its connections", lambda: moved("C"), 15)
        self.assertEqual(self.urls(a), ", ".join([there[1], own, there[0]]))
        self.await_service(port)
        for size in (1, 300_000):
            self.assertEqual(exchange(port, b"x" * size), b"x" * size)
        # C names nobody: what B said stands, and the connector's own place comes after the last.
        b.restart()
        c.process.kill()
        wait_until("the connector to be at B again", lambda: moved("B"), 15)
        self.assertEqual(self.urls(a), ", ".join([own, *there]))
        self.await_service(port)
        self.assertEqual(exchange(port, b"again"), b"again")

    def test_between_interior_routers(self):
        self.follow("inter-router", "interior")

    def test_uplink_of_an_edge_router(self):
        self.follow("edge", "edge")

    def test_a_short_loss_does_not_move_it(self):
        """The router that comes back is dialled before any other."""
        b, c = self.router("B", self.authority), self.router("C", self.authority)
        at_c = c.listen_for_routers()
        wire = self.keep(CountingProxy(b.listen_for_routers(failoverUrls=f"127.0.0.1:{at_c}")))
        a = self.router("A", self.authority).connect_to(wire.port)
        for router in (b, c, a):
            router.start()
        opened = "opened: container B, role inter-router,"
        for times in range(1, 5):
            wait_until(f"link {times} to B", lambda: a.process.log().count(opened) == times, 10)
            self.assertTrue(self.urls(a).startswith(f"amqp://127.0.0.1:{wire.port}, "))
            wire.drop_connections()
        self.assertNotIn("container C", a.process.log())


if __name__ == "__main__":
    unittest.main()
