"""What management says of TCP services: their connections one by one, and how much they moved."""

import unittest

from amqp_wire import (ATTACH, BEGIN, FLOW, TRANSFER, Described, ManagementClient, ManagementError, Peer, UByte, UInt,
                       ULong)
from harness import MeshCase, Server, connect, echo, exchange, free_port, receive_exactly, wait_until

PREFIX = "io.skupper.router."


class ServiceRows(MeshCase):
    def setUp(self):
        super().setUp()
        self.near, self.far = self.pair()
        self.port = self.near.tcp_listener("service", name="in")
        self.server = self.keep(Server(echo))
        self.far.tcp_connector("service", self.server.port, name="out")
        self.near.start()
        self.far.start()
        self.await_service(self.port)
        self.managed = [ManagementClient(router.amqp_port) for router in (self.near, self.far)]
        for client in self.managed:
            client.__enter__()
            self.addCleanup(client.__exit__, None, None, None)

    def hold(self, count):
        """Clients that have had an answer and stay."""
        clients = [connect(self.port) for _ in range(count)]
        for client in clients:
            self.addCleanup(client.close)
            client.sendall(b"hello")
            self.assertEqual(receive_exactly(client, 5), b"hello")
        return clients

    @staticmethod
    def flows(client):
        return [row for row in client.query("connection") if row["protocol"] == "tcp"
                and row["host"] != "egress-dispatch"]

    def await_flows(self, near, far):
        wait_until(f"{near} and {far} connections",
                   lambda: (len(self.flows(self.managed[0])), len(self.flows(self.managed[1]))) == (near, far), 10)

    def test_each_tcp_connection_is_a_row_on_both_routers(self):
        self.await_flows(0, 0)
        clients = self.hold(3)
        near, far = self.flows(self.managed[0]), self.flows(self.managed[1])
        self.assertEqual({row["host"] for row in near}, {"127.0.0.1:%d" % c.getsockname()[1] for c in clients})
        self.assertEqual({row["localSocket"] for row in near}, {f"127.0.0.1:{self.port}"})
        self.assertEqual([row["host"] for row in far], [f"127.0.0.1:{self.server.port}"] * 3)
        self.assertEqual(({row["dir"] for row in near}, {row["dir"] for row in far}), ({"in"}, {"out"}))
        for row in near + far:
            self.assertEqual((row["role"], row["container"], row["properties"]),
                             ("normal", "TcpAdaptor", {"qd.adaptor": "tcp"}))
            self.assertLess(row["uptimeSeconds"], 60)
        self.assertEqual(len({row["identity"] for row in near}), 3)
        identity = near[0]["identity"]
        status, text, row = self.managed[0].request("READ", type=PREFIX + "connection", identity=identity)
        self.assertEqual((status, row["host"]), (200, near[0]["host"]), text)
        for client in clients:
            client.close()
        self.await_flows(0, 0)
        self.assertEqual(self.managed[0].request("READ", type=PREFIX + "connection", identity=identity)[0], 404)

    def test_pages_hold_every_row_once_links_to_routers_first(self):
        self.hold(30)
        rows = []
        while True:
            status, text, body = self.managed[0].request(
                "QUERY", {"attributeNames": ["identity", "role", "protocol"]}, entityType=PREFIX + "connection",
                offset=len(rows), count=7)
            self.assertEqual(status, 200, text)
            rows += body["results"]
            if len(body["results"]) < 7:
                break
        self.assertEqual(len({row[0] for row in rows}), len(rows))
        self.assertEqual([row[2] for row in rows][-30:], ["tcp"] * 30)
        self.assertIn("inter-router", [row[1] for row in rows[:-30]])

    def test_one_connection_is_closed_by_request_and_no_other(self):
        clients = self.hold(4)
        victim = clients[2]
        host = "127.0.0.1:%d" % victim.getsockname()[1]
        identity = next(row["identity"] for row in self.flows(self.managed[0]) if row["host"] == host)
        update = {"type": PREFIX + "connection", "identity": identity}
        self.assertEqual(self.managed[0].request("UPDATE", {"adminStatus": "gone"}, **update)[0], 400)
        status, text, row = self.managed[0].request("UPDATE", {"adminStatus": "deleted"}, **update)
        self.assertEqual((status, row["adminStatus"]), (200, "deleted"), text)
        with self.assertRaises((ConnectionResetError, EOFError, AssertionError)):
            receive_exactly(victim, 1)
        self.await_flows(3, 3)
        for client in clients[:2] + clients[3:]:
            client.sendall(b"still here")
            self.assertEqual(receive_exactly(client, 10), b"still here")
        self.assertEqual(self.managed[0].request("UPDATE", {"adminStatus": "deleted"}, **update)[0], 404)

    def test_what_a_connector_stands_with_is_shown_and_cannot_be_closed(self):
        rows = [row for row in self.managed[1].query("connection") if row["host"] == "egress-dispatch"]
        self.assertEqual(len(rows), 1)
        status, text, _ = self.managed[1].request("UPDATE", {"adminStatus": "deleted"}, type=PREFIX + "connection",
                                                  identity=rows[0]["identity"])
        self.assertEqual(status, 403, text)
        counters = self.managed[1].query("routerMetrics")[0]["connectionCounters"]
        self.await_flows(0, 0)
        self.hold(2)
        more = self.managed[1].query("routerMetrics")[0]["connectionCounters"]
        self.assertEqual((counters["tcp"], more["tcp"]), (1, 3))
        self.managed[1].delete("tcpConnector", "out")
        wait_until("no TCP connection to be counted", lambda: self.managed[1].query("routerMetrics")[0][
            "connectionCounters"]["tcp"] == 0, 10)

    def octets(self):
        listener, connector = self.managed[0].read("tcpListener", "in"), self.managed[1].read("tcpConnector", "out")
        return [(row["bytesIn"], row["bytesOut"]) for row in (listener, connector)]

    def test_octets_are_counted_while_a_connection_is_open_and_after(self):
        before = self.octets()
        self.hold(1)[0].sendall(b"and more")
        wait_until("13 octets to be counted on both sides",
                   lambda: self.octets() == [(a + 13, b + 13) for a, b in before], 10)
        self.assertEqual(len(exchange(self.port, b"x" * 3_000_000)), 3_000_000)
        wait_until("3,000,013 octets to be counted on both sides",
                   lambda: self.octets() == [(a + 3_000_013, b + 3_000_013) for a, b in before], 10)
        rows = {row["name"]: row for row in self.managed[0].query("tcpListener")}
        self.assertEqual(rows["in"]["bytesIn"], before[0][0] + 3_000_013)

    def test_the_two_directions_are_told_apart(self):
        def talkative(connection):
            receive_exactly(connection, 3)
            connection.sendall(b"y" * 1000)
            connection.recv(1)
        server = self.keep(Server(talkative))
        self.managed[0].create("tcpConnector", "local", address="local", host="127.0.0.1", port=str(server.port))
        port = free_port()
        self.managed[0].create("tcpListener", "local", address="local", host="127.0.0.1", port=str(port))
        wait_until("the listener", lambda: self.managed[0].read("tcpListener", "local")["operStatus"] == "up", 10)
        with connect(port) as client:
            client.sendall(b"ask")
            receive_exactly(client, 1000)
            for kind, pair in (("tcpListener", (3, 1000)), ("tcpConnector", (1000, 3))):
                row = self.managed[0].read(kind, "local")
                self.assertEqual((row["bytesIn"], row["bytesOut"]), pair, kind)


class Servers(MeshCase):
    """An AMQP client may stand for a service's client or server."""

    def peer(self, router, name):
        """A client with one session."""
        peer = Peer(connect(router.amqp_port, timeout=10), container=name).handshake()
        self.addCleanup(peer.socket.close)
        peer.send(BEGIN, None, UInt(0), UInt(1000), UInt(1000))
        peer.expect(BEGIN)
        return peer

    def test_a_receiver_stands_for_a_server(self):
        router = self.router("one")
        port = router.tcp_listener("amqp/server")
        router.start()
        peer = self.peer(router, "server")
        peer.send(ATTACH, "in", UInt(0), True, UByte(2), UByte(0), Described(ULong(0x28), ["amqp/server"]),
                  Described(ULong(0x29), []))
        peer.expect(ATTACH)
        peer.send(FLOW, UInt(0), UInt(1000), UInt(0), UInt(1000), UInt(0), UInt(0), UInt(10))
        self.await_service(port)
        client = connect(port)
        self.addCleanup(client.close)
        payload = peer.next_of(TRANSFER)[2]
        # The bare message: properties first, no router annotations.
        self.assertEqual(payload[:3], b"\x00\x53\x73")
        self.assertIn(b"/temp.t", payload)

    def test_an_sslprofile_without_a_key_is_refused_where_it_is_used(self):
        router = self.router("one", self.authority)
        router.start()
        files = self.authority.issue("web")
        with ManagementClient(router.amqp_port) as management:
            management.create("sslProfile", "half", certFile=str(files / "tls.crt"), caCertFile=str(files / "ca.crt"))
            with self.assertRaises(ManagementError) as refused:
                management.create("tcpListener", "x", address="x", host="127.0.0.1", port=str(free_port()),
                                  sslProfile="half")
            self.assertIn("Missing Private Keyfile (sslProfile: half)", str(refused.exception))
            management.delete("sslProfile", "half")


class EdgeLinks(MeshCase):
    def test_the_interior_names_the_links_of_an_edge_and_sees_them_go(self):
        interior, edge = self.router("interior", self.authority), self.router("edge", self.authority, mode="edge")
        edge.connect_to(interior.listen_for_routers(role="edge"), role="edge")
        edge.tcp_listener("service", name="in")
        interior.start()
        edge.start()
        with ManagementClient(interior.amqp_port) as above, ManagementClient(edge.amqp_port) as below:
            def links(address):
                return [(row["linkType"], row["linkDir"]) for row in above.query("router.link")
                        if row["owningAddr"] == address]
            for address, link in (("Hedge", ("edge-downlink", "out")), ("Mservice", ("endpoint", "in")),
                                  ("M_$qd.edge_addr_tracking", ("endpoint", "out"))):
                wait_until(f"one link of {address}", lambda: links(address) == [link], 10)
            below.delete("tcpListener", "in")
            wait_until("the stand-in of the listener to go", lambda: links("Mservice") == [], 10)


if __name__ == "__main__":
    unittest.main()
