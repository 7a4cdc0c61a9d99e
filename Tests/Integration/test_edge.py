"""Edge routers of ours under interior routers of ours: TCP services over the uplink, its election and its loss."""

import re
import threading
import unittest

from harness import (RANDOM, CountingProxy, MeshCase, Server, connect, echo, exchange, free_port, is_refused,
                     receive_exactly, wait_until)


class EdgeCase(MeshCase):
    def edge_port(self, interior, **attributes):
        return interior.listen_for_routers(role="edge", **attributes)

    def edge(self, name, *ports):
        router = self.router(name, self.authority, mode="edge")
        for port in ports:
            router.connect_to(port, role="edge")
        return router

    def echoes(self, port, octets=200_000):
        sent = RANDOM.randbytes(octets)
        self.assertEqual(exchange(port, sent), sent)


class OneInterior(EdgeCase):
    def setUp(self):
        super().setUp()
        self.server = self.keep(Server(echo))
        self.interior = self.router("interior", self.authority)
        self.uplink = self.edge_port(self.interior)

    def test_server_on_the_edge_client_on_the_interior(self):
        edge = self.edge("edge", self.uplink)
        edge.tcp_connector("service", self.server.port)
        port = self.interior.tcp_listener("service")
        self.interior.start()
        edge.start()
        self.await_service(port)
        for size in (1, 1000, 300_000, 3_000_000):
            self.echoes(port, size)

    def test_client_on_the_edge_server_on_the_interior(self):
        edge = self.edge("edge", self.uplink)
        port = edge.tcp_listener("service")
        self.interior.tcp_connector("service", self.server.port)
        self.interior.start()
        edge.start()
        self.await_service(port)
        for size in (1, 1000, 300_000, 3_000_000):
            self.echoes(port, size)

    def test_edge_to_edge(self):
        one = self.edge("one", self.uplink)
        two = self.edge("two", self.uplink)
        port = one.tcp_listener("service")
        two.tcp_connector("service", self.server.port)
        for router in (self.interior, one, two):
            router.start()
        self.await_service(port)
        for size in (1, 1000, 300_000, 3_000_000):
            self.echoes(port, size)

    def test_edge_to_edge_over_two_interiors(self):
        far = self.router("far", self.authority)
        far.connect_to(self.interior.listen_for_routers())
        one = self.edge("one", self.uplink)
        two = self.edge("two", self.edge_port(far))
        port = one.tcp_listener("service")
        two.tcp_connector("service", self.server.port)
        for router in (self.interior, far, one, two):
            router.start()
        self.await_service(port)
        for size in (1, 1000, 300_000, 3_000_000):
            self.echoes(port, size)

    def test_listener_on_the_edge_is_open_only_while_there_is_a_server(self):
        edge = self.edge("edge", self.uplink)
        port = edge.tcp_listener("service")
        other = self.edge("other", self.uplink)
        other.tcp_connector("service", self.server.port)
        self.interior.start()
        edge.start()
        self.assertTrue(is_refused(port))
        other.start()
        self.await_service(port)
        self.echoes(port)
        other.process.stop()
        wait_until("the listener to close with its last server", lambda: is_refused(port), 10)
        other.restart()
        self.await_service(port)
        self.echoes(port)

    def test_own_server_is_not_taken_for_one_elsewhere(self):
        """The edge router's own connector is told to the interior and must not come back as a consumer there."""
        edge = self.edge("edge", self.uplink)
        port = edge.tcp_listener("service")
        edge.tcp_connector("service", self.server.port)
        self.interior.start()
        edge.start()
        self.await_service(port)
        for _ in range(20):
            self.echoes(port, 1000)
        self.assertEqual(self.server.errors, [])


class OneHeld(CountingProxy):
    """A relay that can hold what goes to its target on one of its connections."""

    def __init__(self, target_port):
        super().__init__(target_port)
        self.passing = threading.Event()
        self.passing.set()
        self.held_port = None

    def __exit__(self, *_):
        self.passing.set()
        super().__exit__()

    def hold(self, port):
        """`port` is the relay's own on the connection to the target."""
        self.held_port = port
        self.passing.clear()

    def crossed(self, source, sink, data):
        if sink.getsockname()[1] == self.held_port:
            self.passing.wait()


class FirstClient(EdgeCase):
    def test_its_stream_overtakes_what_tells_the_way_back(self):
        """The server's router has yet to learn where the new edge router is: its answer waits for that."""
        reached = threading.Event()

        def answer(connection):
            reached.set()
            echo(connection)

        server = self.keep(Server(answer))
        far = self.router("far", self.authority)
        near = self.router("near", self.authority)
        link = self.keep(OneHeld(far.listen_for_routers()))
        near.connect_to(link.port)
        far.tcp_connector("service", server.port)
        edge = self.edge("edge", self.edge_port(near))
        port = edge.tcp_listener("service")
        known = near.tcp_listener("service")
        for router in (far, near):
            router.start()
        wait_until("the service at the nearer router", lambda: exchange(known, b"hello") == b"hello", 10)
        reached.clear()
        control = re.search(r"connection from 127.0.0.1:(\d+) opened: .* role inter-router,", far.process.log())
        link.hold(int(control[1]))
        edge.start(wait=False)
        with wait_until("the edge router's listener to open", lambda: connect(port), 10) as client:
            client.sendall(b"hello")
            wait_until("the server to be reached", reached.is_set, 10)
            link.passing.set()
            self.assertEqual(receive_exactly(client, 5), b"hello")


class TwoInteriors(EdgeCase):
    def setUp(self):
        super().setUp()
        self.server = self.keep(Server(echo))
        self.one = self.router("one", self.authority)
        self.two = self.router("two", self.authority)
        self.two.connect_to(self.one.listen_for_routers())
        self.one.tcp_connector("service", self.server.port)
        self.back = self.two.tcp_listener("edge-service")
        self.edge_router = self.edge("edge", self.edge_port(self.one), self.edge_port(self.two))
        self.front = self.edge_router.tcp_listener("service")
        self.edge_router.tcp_connector("edge-service", self.server.port)
        for router in (self.one, self.two, self.edge_router):
            router.start()

    def test_the_other_uplink_takes_over(self):
        self.await_service(self.front)
        self.await_service(self.back)
        self.echoes(self.front)
        self.echoes(self.back)
        # Each router in turn; whichever is the active one, the edge's service at the other goes on or comes back.
        for router, port in ((self.one, self.back), (self.two, self.front), (self.one, self.back)):
            router.process.kill()
            wait_until("the service past the router that died", lambda: exchange(port, b"hello") == b"hello", 10)
            router.restart()
            for service in (self.front, self.back):
                wait_until("both services", lambda: exchange(service, b"hello") == b"hello", 10)


class Refusals(EdgeCase):
    def start_fails(self, router, text):
        router.start(wait=False)
        wait_until("the router to give up", lambda: not router.process.is_alive(), 10)
        log = router.process.log()
        router.process.kill()
        router.process = None
        self.assertIn(text, log)

    def test_edge_connector_of_an_interior_router(self):
        router = self.router("wrong", self.authority)
        router.connect_to(free_port(), role="edge")
        self.start_fails(router, "role edge is for routers of mode edge")

    def test_inter_router_connector_of_an_edge_router(self):
        router = self.router("wrong", self.authority, mode="edge")
        router.connect_to(free_port())
        self.start_fails(router, "role inter-router is not possible in mode edge")


if __name__ == "__main__":
    unittest.main()
