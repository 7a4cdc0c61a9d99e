"""Several routers: the least-cost path is used, another is taken when it dies, and what was lost comes back."""

import itertools
import random
import re
import signal
import time
import unittest

from amqp_wire import ManagementClient
from harness import (SEED, CountingProxy, MeshCase, Server, connect, echo, exchange, is_refused,
                     receive_exactly, wait_until)

# Large enough to tell data from routing chatter on a link, in octets.
BULK = 1_000_000


class RoutingCase(MeshCase):
    def link(self, dialler, acceptor, cost=1, **attributes):
        """A link with a counting proxy in its way; dialler connects to acceptor."""
        proxy = self.keep(CountingProxy(acceptor.listen_for_routers()))
        dialler.connect_to(proxy.port, cost=cost, **attributes)
        return proxy

    def routers_named(self, *names, **attributes):
        return [self.router(name, self.authority, **attributes) for name in names]

    def start_all(self):
        for router in self.routers:
            router.start()

    def octets_moved(self, proxies, port):
        """Sends BULK both ways through the service and says how much crossed each proxy."""
        before = [proxy.octets for proxy in proxies]
        data = random.Random(SEED).randbytes(BULK)
        self.assertEqual(exchange(port, data), data)
        return [proxy.octets - start for proxy, start in zip(proxies, before)]


class Line(RoutingCase):
    def test_service_two_hops_away(self):
        a, b, c = self.routers_named("a", "b", "c")
        self.link(a, b)
        self.link(c, b)
        server = self.keep(Server(echo))
        port = a.tcp_listener("service")
        c.tcp_connector("service", server.port)
        self.start_all()
        self.await_service(port)
        data = random.Random(SEED).randbytes(5_000_000)
        self.assertEqual(exchange(port, data), data)
        with ManagementClient(a.amqp_port) as management:
            nodes = {node["id"]: node for node in management.query("router.node", "id", "nextHop", "cost")}
        self.assertEqual(nodes["c"]["nextHop"], "b")
        self.assertEqual(nodes["c"]["cost"], 2)

    def test_middle_router_frozen_and_thawed(self):
        a, b, c = self.routers_named("a", "b", "c")
        self.link(a, b, idleTimeoutSeconds=4)
        self.link(c, b, idleTimeoutSeconds=4)
        near, far = self.keep(Server(echo)), self.keep(Server(echo))
        far_port, near_port = a.tcp_listener("far"), a.tcp_listener("near")
        c.tcp_connector("far", far.port)
        a.tcp_connector("near", near.port)
        self.start_all()
        self.await_service(far_port)
        self.await_service(near_port)
        b.process.send(signal.SIGSTOP)
        try:
            # A frozen neighbour does not hold up what does not need it.
            for _ in range(20):
                started = time.monotonic()
                self.assertEqual(exchange(near_port, b"still here"), b"still here")
                self.assertLess(time.monotonic() - started, 2)
            wait_until("the frozen router's services to be withdrawn", lambda: is_refused(far_port), 15)
        finally:
            b.process.send(signal.SIGCONT)
        self.await_service(far_port, 20)
        self.assertEqual(exchange(far_port, b"back"), b"back")


class Triangle(RoutingCase):
    """a-c directly costs 10; a-b-c costs 2."""

    def setUp(self):
        super().setUp()
        self.a, self.b, self.c = self.routers_named("a", "b", "c")
        self.direct = self.link(self.a, self.c, cost=10, name="direct")
        self.first = self.link(self.a, self.b, name="first")
        self.second = self.link(self.b, self.c, name="second")
        self.server = self.keep(Server(echo))
        self.port = self.a.tcp_listener("service")
        self.c.tcp_connector("service", self.server.port)
        self.start_all()
        self.await_service(self.port)

    def next_hop(self, router, destination):
        with ManagementClient(router.amqp_port) as management:
            for node in management.query("router.node", "id", "nextHop"):
                if node["id"] == destination:
                    # Null means a neighbour: its own link is the next hop.
                    return node["nextHop"] or destination
        return None

    def await_path(self, by_way_of_b, seconds=10):
        """Until streams go that way in both directions: answers follow the other end's own table."""
        for router, destination in ((self.a, "c"), (self.c, "a")):
            hop = "b" if by_way_of_b else destination
            wait_until(f"the next hop from {router.name} to {destination} to be {hop}",
                       lambda r=router, d=destination, h=hop: self.next_hop(r, d) == h, seconds)

    def test_least_cost_path_is_used(self):
        self.await_path(by_way_of_b=True)
        direct, first, second = self.octets_moved([self.direct, self.first, self.second], self.port)
        self.assertGreater(first, 2 * BULK)
        self.assertGreater(second, 2 * BULK)
        self.assertLess(direct, BULK / 2)

    def test_other_path_when_the_cheaper_is_reset_and_back_when_it_returns(self):
        self.await_path(by_way_of_b=True)
        self.second.cut()
        started = time.monotonic()
        wait_until("a new connection to work by the dearer path",
                   lambda: exchange(self.port, b"hello", timeout=3) == b"hello", 5, every=0.05)
        print(f"  new connections worked {time.monotonic() - started:.2f} s after the reset", flush=True)
        self.await_path(by_way_of_b=False)
        direct, first, _ = self.octets_moved([self.direct, self.first, self.second], self.port)
        self.assertGreater(direct, 2 * BULK)
        self.assertLess(first, BULK / 2)
        self.second.mend()
        self.await_path(by_way_of_b=True, seconds=20)
        direct, first, _ = self.octets_moved([self.direct, self.first, self.second], self.port)
        self.assertGreater(first, 2 * BULK)
        self.assertLess(direct, BULK / 2)

    def test_other_path_when_the_middle_router_is_killed(self):
        self.await_path(by_way_of_b=True)
        self.b.process.kill()
        wait_until("a new connection to work by the dearer path",
                   lambda: exchange(self.port, b"hello", timeout=3) == b"hello", 5, every=0.05)

    def test_other_path_when_the_cheaper_goes_silent(self):
        self.await_path(by_way_of_b=True)
        self.second.silent.set()
        started = time.monotonic()
        wait_until("a new connection to work by the dearer path",
                   lambda: exchange(self.port, b"hello", timeout=2) == b"hello", 15, every=0.05)
        print(f"  new connections worked {time.monotonic() - started:.2f} s after the silence began", flush=True)

    def test_open_connections_stay_when_the_cost_changes(self):
        self.await_path(by_way_of_b=True)
        with connect(self.port) as held:
            held.sendall(b"before")
            self.assertEqual(receive_exactly(held, 6), b"before")
            with ManagementClient(self.a.amqp_port) as management:
                management.update("connector", "direct", cost=1)
            self.await_path(by_way_of_b=False)
            direct, first, _ = self.octets_moved([self.direct, self.first, self.second], self.port)
            self.assertGreater(direct, 2 * BULK)
            self.assertLess(first, BULK / 2)
            held.sendall(b"after!")
            self.assertEqual(receive_exactly(held, 6), b"after!")


class Returning(RoutingCase):
    def test_killed_router_is_found_again_after_restart_whichever_side_dials(self):
        for far_dials in (False, True):
            with self.subTest(restarted_router_dials=far_dials):
                near, far = self.pair(dial_from_listener_side=not far_dials)
                server = self.keep(Server(echo))
                port = near.tcp_listener("service")
                far.tcp_connector("service", server.port)
                near.start()
                far.start()
                self.await_service(port)
                with connect(port) as held:
                    held.sendall(b"hold")
                    receive_exactly(held, 4)
                    far.process.kill()
                    held.settimeout(10)
                    try:
                        self.assertEqual(held.recv(10), b"")
                    except ConnectionResetError:
                        pass
                far.restart()
                started = time.monotonic()
                wait_until("new connections to work after the restart",
                           lambda: exchange(port, b"hello", timeout=3) == b"hello", 5, every=0.05)
                print(f"  new connections worked {time.monotonic() - started:.2f} s after the restart", flush=True)
                self._end()
                self.routers.clear()

    def test_listener_of_a_lost_service_closes_and_opens_again(self):
        near, far = self.pair()
        server = self.keep(Server(echo))
        port = near.tcp_listener("service")
        far.tcp_connector("service", server.port)
        near.start()
        far.start()
        self.await_service(port)
        far.process.stop()
        wait_until("the listener to be closed", lambda: is_refused(port), 5)
        far.restart()
        self.await_service(port, 10)


class Balance(RoutingCase):
    def test_two_servers_of_one_service_both_get_connections(self):
        near, far = self.pair()
        one, two = self.keep(Server(echo)), self.keep(Server(echo))
        port = near.tcp_listener("service")
        far.tcp_connector("service", one.port)
        far.tcp_connector("service", two.port)
        near.start()
        far.start()
        self.await_service(port)
        held = []
        try:
            for _ in range(20):
                connection = connect(port)
                held.append(connection)
                connection.sendall(b"x")
                receive_exactly(connection, 1)
            self.assertGreaterEqual(min(one.accepted, two.accepted), 5)
        finally:
            for connection in held:
                connection.close()


class Balancer(CountingProxy):
    """A relay that leads its connections to several targets in turn."""

    def __init__(self, *ports):
        self._turns = itertools.cycle(ports)
        super().__init__(ports[0])

    @property
    def target_port(self):
        return next(self._turns)

    @target_port.setter
    def target_port(self, _):
        pass


class Split(RoutingCase):
    def test_a_group_that_a_balancer_splits_is_reported_and_streams_arrive(self):
        near, one, two = self.routers_named("near", "one", "two", dataConnectionCount="4")
        balancer = self.keep(Balancer(one.listen_for_routers(), two.listen_for_routers()))
        near.connect_to(balancer.port)
        server = self.keep(Server(echo))
        ports = {}
        for far in (one, two):
            ports[far] = near.tcp_listener(far.name)
            far.tcp_connector(far.name, server.port)
        self.start_all()
        wait_until("a service of the control connection's router", lambda: not all(map(is_refused, ports.values())),
                   15)
        far, other = (one, two) if is_refused(ports[two]) else (two, one)
        wait_until("the log to tell of it", lambda: re.search(
            rf"\(error\) Connection group failure: .*{other.name} \(\[C\d+\]\) and {far.name}", near.process.log()), 15)
        for _ in range(20):
            data = random.Random(SEED).randbytes(50_000)
            self.assertEqual(exchange(ports[far], data), data)


if __name__ == "__main__":
    unittest.main()
