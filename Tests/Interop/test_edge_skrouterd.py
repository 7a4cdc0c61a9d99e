"""Edge routers of one product under interior routers of the other, when SKROUTERD names a skrouterd."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))

from amqp_wire import ManagementClient  # noqa: E402
from harness import RANDOM, MeshCase, Server, echo, exchange, is_refused, wait_until  # noqa: E402
from skrouterd_case import OURS, THEIRS, Skrouterd, SkrouterdManagement, needs_skrouterd  # noqa: E402


@needs_skrouterd
class MixedEdges(MeshCase):
    def make(self, product, name, **attributes):
        if product == OURS:
            return self.router(name, self.authority, **attributes)
        router = Skrouterd(name, self.folder, self.authority, **attributes)
        self.routers.append(router)
        return router

    def interior(self, product, name):
        router = self.make(product, name)
        router.edge_port = router.listen_for_routers(role="edge")
        return router

    def edge(self, product, name, *interiors):
        router = self.make(product, name, mode="edge")
        for interior in interiors:
            router.connect_to(interior.edge_port, role="edge")
        return router

    def setUp(self):
        super().setUp()
        self.server = self.keep(Server(echo))

    def start(self, *routers):
        for router in routers:
            router.start(wait=False)
        for router in routers:
            router.wait_healthy(30)

    def exchanges(self, port, sizes=(1, 1000, 100_000, 3_000_000), times=3):
        self.await_service(port, 15)
        for size in sizes:
            for _ in range(times):
                data = RANDOM.randbytes(size)
                self.assertEqual(exchange(port, data), data, f"{size} octets")

    def pairs(self):
        return [(OURS, THEIRS), (THEIRS, OURS)]

    def test_client_on_the_edge(self):
        for below, above in self.pairs():
            with self.subTest(edge=below, interior=above):
                interior = self.interior(above, f"i-{above}-1")
                edge = self.edge(below, f"e-{below}-1", interior)
                port = edge.tcp_listener("service")
                interior.tcp_connector("service", self.server.port)
                self.start(interior, edge)
                self.exchanges(port)

    def test_server_on_the_edge(self):
        for below, above in self.pairs():
            with self.subTest(edge=below, interior=above):
                interior = self.interior(above, f"i-{above}-2")
                edge = self.edge(below, f"e-{below}-2", interior)
                port = interior.tcp_listener("service")
                edge.tcp_connector("service", self.server.port)
                self.start(interior, edge)
                self.exchanges(port)

    def test_edges_of_both_products_under_one_interior(self):
        for above in (OURS, THEIRS):
            with self.subTest(interior=above):
                interior = self.interior(above, f"i-{above}-3")
                one = self.edge(OURS, f"e-{above}-3", interior)
                two = self.edge(THEIRS, f"f-{above}-3", interior)
                there = one.tcp_listener("at-two")
                back = two.tcp_listener("at-one")
                two.tcp_connector("at-two", self.server.port)
                one.tcp_connector("at-one", self.server.port)
                self.start(interior, one, two)
                self.exchanges(there)
                self.exchanges(back)

    def test_edges_under_interiors_of_both_products(self):
        ours = self.interior(OURS, "i-ours-4")
        theirs = self.interior(THEIRS, "i-theirs-4")
        ours.connect_to(theirs.listen_for_routers())
        one = self.edge(OURS, "e-ours-4", theirs)
        two = self.edge(THEIRS, "e-theirs-4", ours)
        there = one.tcp_listener("at-two")
        back = two.tcp_listener("at-one")
        two.tcp_connector("at-two", self.server.port)
        one.tcp_connector("at-one", self.server.port)
        self.start(ours, theirs, one, two)
        self.exchanges(there)
        self.exchanges(back)

    def test_the_listener_follows_the_server(self):
        for below, above in self.pairs():
            with self.subTest(edge=below, interior=above):
                interior = self.interior(above, f"i-{above}-5")
                edge = self.edge(below, f"e-{below}-5", interior)
                other = self.edge(above, f"f-{above}-5", interior)
                port = edge.tcp_listener("service")
                other.tcp_connector("service", self.server.port)
                self.start(interior, edge)
                self.assertTrue(is_refused(port))
                other.start()
                self.exchanges(port, (1000,))
                other.process.kill()
                wait_until("the listener to close", lambda: is_refused(port), 20)
                other.start()
                self.exchanges(port, (1000,))

    def test_uplink_moves_to_the_other_product(self):
        ours = self.interior(OURS, "i-ours-6")
        theirs = self.interior(THEIRS, "i-theirs-6")
        ours.connect_to(theirs.listen_for_routers())
        for router in (ours, theirs):
            router.service = router.tcp_listener("edge-service")
        for product in (OURS, THEIRS):
            edge = self.edge(product, f"e-{product}-6", ours, theirs)
            edge.tcp_connector("edge-service" if product == OURS else "their-service", self.server.port)
            edge.service = edge.tcp_listener("their-service" if product == OURS else "edge-service")
        first, second = self.routers[-2:]
        self.start(ours, theirs, first, second)
        for port in (ours.service, theirs.service, first.service, second.service):
            self.exchanges(port, (1000,))
        for dying, living in ((ours, theirs), (theirs, ours)):
            dying.process.kill()
            for port in (living.service, first.service, second.service):
                wait_until("the service past the router that died",
                           lambda: exchange(port, b"hello", timeout=5) == b"hello", 20)
            dying.start()
            wait_until("the service where it came back",
                       lambda: exchange(dying.service, b"hello", timeout=5) == b"hello", 20)

    def test_the_uplink_follows_the_list_of_the_lost_interior(self):
        for below, above in self.pairs():
            with self.subTest(edge=below, interior=above):
                second = self.interior(OURS if above == THEIRS else THEIRS, f"j-{above}-7")
                first = self.make(above, f"i-{above}-7")
                there = f"amqp://127.0.0.1:{second.edge_port}"
                first.edge_port = first.listen_for_routers(role="edge", failoverUrls=there)
                edge = self.edge(below, f"e-{below}-7", first)
                port = edge.tcp_listener("service")
                for interior in (first, second):
                    interior.tcp_connector("service", self.server.port)
                self.start(first, second, edge)
                self.exchanges(port, sizes=(1000,))
                own = f"amqp://127.0.0.1:{first.edge_port}"

                def urls():
                    kind = ManagementClient if below == OURS else SkrouterdManagement
                    with kind(edge.amqp_port) as management:
                        return management.query("connector")[0]["failoverUrls"]
                self.assertEqual(urls(), f"{own}, {there}")
                first.process.kill()
                wait_until("the uplink to be at the second interior", lambda: urls() == f"{there}, {own}", 20)
                self.exchanges(port, sizes=(1000,))


if __name__ == "__main__":
    unittest.main()
