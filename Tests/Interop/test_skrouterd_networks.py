"""Lines, rings and meshes that mix both products. See docs/compatibility.md."""

import unittest

from skrouterd_case import OURS, THEIRS, MixedCase, needs_skrouterd

from harness import LARGE, CountingProxy, Server, echo, exchange, RANDOM, wait_until

# Of each product.
EACH = 6 if LARGE else 3


@needs_skrouterd
class Networks(MixedCase):
    def setUp(self):
        super().setUp()
        self.server = self.keep(Server(echo))

    def alternating(self, count):
        routers = [self.make((OURS, THEIRS)[index % 2], f"r{index:02}") for index in range(count)]
        for router in routers:
            router.link_port = router.listen_for_routers()
            router.tcp_connector(f"at-{router.name}", self.server.port)
        return routers

    def listeners_for(self, routers, pairs):
        """{(from, to): port} of listeners on router `from` for the service on router `to`."""
        return {(source, target): routers[source].tcp_listener(f"at-{routers[target].name}")
                for source, target in pairs}

    def check_costs(self, routers, distance):
        names = [router.name for router in routers]
        for index, router in enumerate(routers):
            known = self.await_nodes(router, *(names[:index] + names[index + 1:]), seconds=40)
            wanted = {names[other]: distance(index, other) for other in range(len(routers)) if other != index}

            def agrees(router=router, wanted=wanted):
                found = {name: row["cost"] for name, row in self.nodes(router).items()}
                return found == wanted
            if {name: row["cost"] for name, row in known.items()} != wanted:
                wait_until(f"the costs of {router.name} to be {wanted}", agrees, 20, 0.2)

    def test_line(self):
        count = 2 * EACH
        routers = self.alternating(count)
        for index in range(1, count):
            dialler, acceptor = (index, index - 1) if index % 3 else (index - 1, index)
            routers[dialler].connect_to(routers[acceptor].link_port)
        ports = self.listeners_for(routers, [(0, count - 1), (count - 1, 0), (1, count - 2), (0, 2), (3, 1)])
        self.start_all()
        self.check_costs(routers, lambda one, two: abs(one - two))
        for port in ports.values():
            self.exchanges(port)

    def test_ring_loses_one_after_the_other(self):
        count = 2 * EACH
        routers = self.alternating(count)
        for index in range(count):
            routers[index].connect_to(routers[(index + 1) % count].link_port)
        half = count // 2
        ports = self.listeners_for(routers, [(0, half), (half, 0), (1, half), (half, 1)])
        self.start_all()
        self.check_costs(routers, lambda one, two: min((one - two) % count, (two - one) % count))
        for port in ports.values():
            self.exchanges(port, (1, 100_000))
        # One of each product on one arm of the ring; the other arm carries on.
        for dying in (count - 1, count - 2):
            routers[dying].process.kill()
            for port in ports.values():
                self.await_exchange(port, 20)
                self.exchanges(port, (100_000,))
            routers[dying].start()
            names = [router.name for router in routers]
            self.await_nodes(routers[0], *names[1:], seconds=30)
            self.await_nodes(routers[1], *(names[:1] + names[2:]), seconds=30)

    def test_full_mesh(self):
        count = 12 if LARGE else 4
        routers = self.alternating(count)
        for one in range(count):
            for two in range(one):
                routers[one].connect_to(routers[two].link_port)
        ports = self.listeners_for(
            routers, [(one, two) for one in range(count) for two in range(count) if one != two])
        self.start_all()
        self.check_costs(routers, lambda one, two: 1)
        for port in ports.values():
            self.exchanges(port, (1000, 100_000), 1)

    def test_costs_decide_the_way(self):
        # a - c directly costs 10; a - b - c costs 2 + 3. Every product in the place of each.
        for products in ((OURS, THEIRS, OURS), (THEIRS, OURS, THEIRS), (OURS, OURS, THEIRS), (THEIRS, THEIRS, OURS)):
            with self.part(products=products):
                a, b, c = (self.make(product, name) for product, name in zip(products, "abc"))
                direct = self.keep(CountingProxy(c.listen_for_routers(cost=10)))
                a.connect_to(direct.port)
                a.connect_to(b.listen_for_routers(), cost=2)
                b.connect_to(c.listen_for_routers(cost=3))
                port = a.tcp_listener("at-c")
                c.tcp_connector("at-c", self.server.port)
                self.start_all()
                for router, other in ((a, "c"), (c, "a")):
                    wait_until(f"{router.name} to go by b", lambda router=router, other=other: (
                        (row := self.nodes(router).get(other)) and (row["cost"], row["nextHop"]) == (5, "b")), 20, 0.1)
                self.await_exchange(port)
                before = direct.octets
                data = RANDOM.randbytes(1_000_000)
                self.assertEqual(exchange(port, data), data)
                self.assertLess(direct.octets - before, 100_000)
                b.process.kill()
                for router, other in ((a, "c"), (c, "a")):
                    wait_until(f"{router.name} to go directly", lambda router=router, other=other: (
                        (row := self.nodes(router).get(other)) and (row["cost"], row["nextHop"]) == (10, None)), 20,
                        0.1)
                self.await_exchange(port)
                

if __name__ == "__main__":
    unittest.main()
