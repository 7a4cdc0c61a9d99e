"""Edge routers of ours connected to each other (role inter-edge), with and without interior routers above them."""

import itertools
import socket
import unittest

from amqp_wire import CLOSE, ManagementClient, Peer
from harness import CountingProxy, Server, echo, exchange, free_port, is_refused, wait_until
from test_edge import EdgeCase


class EdgeMeshCase(EdgeCase):
    def setUp(self):
        super().setUp()
        self.server = self.keep(Server(echo))

    def mesh_port(self, edge):
        return edge.listen_for_routers(role="inter-edge")

    def join(self, *edges):
        """Each of them to each other, by one connection for each two."""
        for one, two in itertools.combinations(edges, 2):
            two.connect_to(self.mesh_port(one), role="inter-edge")

    def start(self, *routers):
        for router in routers:
            router.start(wait=False)
        for router in routers:
            router.wait_healthy()

    def offer(self, edge):
        """A service that only this edge router has."""
        edge.tcp_connector(f"on-{edge.name}", self.server.port)

    def use(self, router, *edges):
        """Ports of this router for the services of those."""
        return [router.tcp_listener(f"on-{edge.name}") for edge in edges]

    def tell_another(self, edge, *ports):
        """Until a new service of this edge router works at these ports: what it told before has arrived there too."""
        with ManagementClient(edge.amqp_port) as management:
            management.create("tcpConnector", "last", address="last", host="127.0.0.1", port=str(self.server.port))
        for port in ports:
            self.sizes(port, (1000,))

    def sizes(self, port, sizes=(1, 1000, 300_000, 3_000_000)):
        self.await_service(port)
        for size in sizes:
            self.echoes(port, size)

    def connections(self, router, role):
        with ManagementClient(router.amqp_port) as management:
            rows = management.query("connection", "role", "container", "dir", "meshId", "opened")
        return [row for row in rows if row["role"] == role]

    def ways(self, router, address):
        """Neighbours, and the interior if it offers the address, that `router` knows consumers behind."""
        with ManagementClient(router.amqp_port) as management:
            rows = management.query("router.address", "key", "subscriberCount")
        return next((row["subscriberCount"] for row in rows if row["key"] == "M" + address), 0)

    def meshes(self, interior):
        """{edge router: name of its mesh} as an interior router knows it."""
        return {row["container"]: row["meshId"] for row in self.connections(interior, "edge")}

    def await_meshes(self, interior, *groups):
        """Until the edge routers under `interior` are in meshes as the groups say."""
        def agreed():
            found = self.meshes(interior)
            if set(found) != set(itertools.chain(*groups)) or None in found.values():
                return None
            names = [{found[edge] for edge in group} for group in groups]
            return found if all(len(name) == 1 for name in names) and len(set.union(*names)) == len(groups) else None
        return wait_until(f"meshes {groups} at {interior.name}", agreed, 10, 0.05)


class WithoutInterior(EdgeMeshCase):
    def test_two_edges(self):
        one, two = self.edge("one"), self.edge("two")
        self.join(one, two)
        self.offer(one)
        self.offer(two)
        there, back = self.use(one, two)[0], self.use(two, one)[0]
        self.start(one, two)
        self.sizes(there)
        self.sizes(back)

    def test_both_dial(self):
        """Two connections between the same two: one neighbour, and the other connection is there when one goes."""
        one, two = self.edge("one"), self.edge("two")
        one_port, two_port = self.mesh_port(one), self.mesh_port(two)
        links = [self.keep(CountingProxy(port)) for port in (one_port, two_port)]
        two.connect_to(links[0].port, role="inter-edge")
        one.connect_to(links[1].port, role="inter-edge")
        self.offer(one)
        self.offer(two)
        ports = self.use(one, two) + self.use(two, one)
        self.start(one, two)
        for edge in (one, two):
            wait_until("both connections", lambda: len(self.connections(edge, "inter-edge")) == 2, 10, 0.05)
        for port in ports:
            self.sizes(port, (1, 100_000))
        for link in links:
            link.cut()
            for edge in (one, two):
                wait_until("one connection", lambda: len(self.connections(edge, "inter-edge")) == 1, 10, 0.05)
            for port in ports:
                wait_until("the service on the other connection", lambda: exchange(port, b"hello") == b"hello", 10)
                self.echoes(port, 100_000)
            link.mend()
            for edge in (one, two):
                wait_until("both connections", lambda: len(self.connections(edge, "inter-edge")) == 2, 10, 0.05)

    def test_three_edges(self):
        edges = [self.edge(name) for name in ("one", "two", "three")]
        self.join(*edges)
        for edge in edges:
            self.offer(edge)
        ports = [port for edge in edges for port in self.use(edge, *[other for other in edges if other is not edge])]
        self.start(*edges)
        for port in ports:
            self.sizes(port, (1, 300_000))

    def test_edge_that_dies_and_comes_back(self):
        edges = one, two, three = [self.edge(name) for name in ("one", "two", "three")]
        self.join(*edges)
        for edge in edges:
            self.offer(edge)
        to_two, to_three = self.use(one, two, three)
        self.start(*edges)
        self.sizes(to_two, (1000,))
        two.process.kill()
        wait_until("the listener for what it had to close", lambda: is_refused(to_two), 10)
        self.sizes(to_three, (1000,))
        two.restart()
        self.sizes(to_two, (1000,))

    def test_neighbours_only(self):
        """A chain: what is told by one neighbour is not told to the other."""
        one, two, three = [self.edge(name) for name in ("one", "two", "three")]
        self.join(one, two)
        self.join(two, three)
        self.offer(one)
        self.offer(three)
        near, far = self.use(two, one)[0], self.use(three, one)[0]
        known = self.use(two, three)[0]
        last = three.tcp_listener("last")
        self.start(one, two, three)
        self.sizes(near, (1000,))
        self.sizes(known, (1000,))
        self.tell_another(two, last)
        self.assertTrue(is_refused(far))


class UnderInteriors(EdgeMeshCase):
    def test_neighbours_need_no_interior(self):
        interior = self.router("interior", self.authority)
        port = self.edge_port(interior)
        one, two = self.edge("one", port), self.edge("two", port)
        self.join(one, two)
        self.offer(two)
        direct = self.use(one, two)[0]
        above = self.use(interior, two)[0]
        self.start(interior, one, two)
        self.await_meshes(interior, ["one", "two"])
        self.sizes(direct)
        self.sizes(above)
        interior.process.kill()
        self.sizes(direct)
        interior.restart()
        self.await_meshes(interior, ["one", "two"])
        self.sizes(above)
        two.process.kill()
        for port in (direct, above):
            wait_until("the listener to close with its server", lambda: is_refused(port), 10)

    def test_edge_without_an_uplink(self):
        """It reaches its neighbours and they reach it; no edge router passes on for another."""
        interior = self.router("interior", self.authority)
        one, two = self.edge("one", self.edge_port(interior)), self.edge("two")
        self.join(one, two)
        self.offer(interior)
        self.offer(one)
        self.offer(two)
        there, back = self.use(one, two)[0], self.use(two, one)[0]
        up = self.use(one, interior)[0]
        past = self.use(two, interior)[0], self.use(interior, two)[0]
        last = two.tcp_listener("last"), interior.tcp_listener("last")
        self.start(interior, one, two)
        for port in (there, back, up):
            self.sizes(port, (1, 300_000))
        self.tell_another(one, *last)
        for port in past:
            self.assertTrue(is_refused(port))

    def test_interiors_know_one_mesh(self):
        near, far = self.router("near", self.authority), self.router("far", self.authority)
        far.connect_to(near.listen_for_routers())
        near_port, far_port = self.edge_port(near), self.edge_port(far)
        one, two, three = self.edge("one", near_port), self.edge("two", near_port), self.edge("three", far_port)
        outside = self.edge("outside", far_port)
        edges = (one, two, three, outside)
        self.join(one, two, three)
        for edge in edges:
            self.offer(edge)
        ports = [port for edge in edges for port in self.use(edge, *[other for other in edges if other is not edge])]
        ports += self.use(near, *edges) + self.use(far, *edges)
        self.start(near, far, *edges)
        wait_until("one name of the mesh at both interiors", lambda: (
            self.await_meshes(near, ["one", "two"])["one"]
            == self.await_meshes(far, ["three"], ["outside"])["three"]), 10, 0.05)
        for port in ports:
            self.sizes(port, (1, 100_000))
        # The only server of a mesh's service is in it: no interior offers it to another edge router of the mesh.
        for edge in (one, two):
            for other, ways in ((one, 1), (two, 1), (three, 1), (outside, 1)):
                if other is not edge:
                    wait_until(f"{ways} way from {edge.name} to {other.name}",
                               lambda: self.ways(edge, f"on-{other.name}") == ways, 10, 0.05)
        three.process.kill()
        for edge in (one, two, outside):
            port = next(entity[1]["port"] for entity in edge.entities if entity[1].get("address") == "on-three")
            wait_until(f"{edge.name}'s listener to close", lambda: is_refused(int(port)), 10)

    def test_lost_connection_leaves_the_way_through_the_interior(self):
        interior = self.router("interior", self.authority)
        port = self.edge_port(interior)
        one, two = self.edge("one", port), self.edge("two", port)
        link = self.keep(CountingProxy(self.mesh_port(one)))
        two.connect_to(link.port, role="inter-edge")
        self.offer(one)
        self.offer(two)
        ports = self.use(one, two) + self.use(two, one)
        self.start(interior, one, two)
        for _ in range(3):
            self.await_meshes(interior, ["one", "two"])
            for port in ports:
                self.sizes(port, (1000,))
            before = link.octets
            for port in ports:
                self.echoes(port, 300_000)
            self.assertGreater(link.octets - before, 1_200_000, "the services do not use the connection of the two")
            link.cut()
            self.await_meshes(interior, ["one"], ["two"])
            for port in ports:
                wait_until("the service through the interior", lambda: exchange(port, b"hello") == b"hello", 10)
                self.echoes(port, 300_000)
            link.mend()

    def test_connector_made_and_deleted(self):
        interior = self.router("interior", self.authority)
        port = self.edge_port(interior)
        one, two = self.edge("one", port), self.edge("two", port)
        mesh_port = self.mesh_port(one)
        self.offer(one)
        service = self.use(two, one)[0]
        self.start(interior, one, two)
        self.await_meshes(interior, ["one"], ["two"])
        self.sizes(service, (1000,))
        with ManagementClient(two.amqp_port) as management:
            for _ in range(3):
                management.create("connector", "mesh", role="inter-edge", host="127.0.0.1", port=str(mesh_port),
                                  sslProfile="mesh")
                self.await_meshes(interior, ["one", "two"])
                wait_until("only the direct way", lambda: self.ways(two, "on-one") == 1, 10, 0.05)
                self.sizes(service, (1000, 300_000))
                management.delete("connector", "mesh")
                self.await_meshes(interior, ["one"], ["two"])
                wait_until("the service through the interior", lambda: exchange(service, b"hello") == b"hello", 10)
                self.sizes(service, (1000, 300_000))

    def test_names_of_a_mesh_whose_oldest_router_leaves(self):
        interior = self.router("interior", self.authority)
        port = self.edge_port(interior)
        one, two, three = [self.edge(name, port) for name in ("one", "two", "three")]
        self.join(one, two, three)
        self.start(interior, one)
        self.start(two, three)
        before = self.await_meshes(interior, ["one", "two", "three"])
        one.process.kill()
        wait_until("it to be gone", lambda: "one" not in self.meshes(interior), 10)
        after = self.await_meshes(interior, ["two", "three"])
        self.assertNotEqual(before["two"], after["two"])
        one.restart()
        self.await_meshes(interior, ["one", "two", "three"])


class Refusals(EdgeMeshCase):
    def test_client_at_an_inter_edge_listener(self):
        edge = self.edge("edge")
        port = free_port()
        edge.add("listener", name="mesh", role="inter-edge", host="127.0.0.1", port=port)
        edge.start()
        peer = Peer(socket.create_connection(("127.0.0.1", port), timeout=10))
        self.addCleanup(peer.close)
        peer.handshake()
        self.assertEqual(peer.expect(CLOSE)[0].value[0], "amqp:not-allowed")
        wait_until("the log to say so", lambda: "role inter-edge is for edge routers" in edge.process.log(), 10)


if __name__ == "__main__":
    unittest.main()
