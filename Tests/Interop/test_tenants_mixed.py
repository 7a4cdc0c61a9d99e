"""Tenants and networks with a name of their own, in networks of both products."""

import socket

from skrouterd_case import BOTH_WAYS, OURS, THEIRS, MixedCase, needs_skrouterd

from harness import RANDOM, Server, connect, echo, exchange, is_refused, receive_all, wait_until
from telemetry_collector import Collector


def says(word):
    """A server that tells who it is when the client has ended."""
    def handler(connection):
        receive_all(connection)
        connection.sendall(word.encode())
    return Server(handler)


def answer(port):
    with connect(port) as connection:
        connection.shutdown(socket.SHUT_WR)
        return receive_all(connection).decode()


@needs_skrouterd
class Tenants(MixedCase):
    def await_answer(self, port, word):
        def is_answered():
            try:
                return answer(port) == word
            except OSError:
                return False
        wait_until(f"an answer of {word} through port {port}", is_answered, 20)

    def test_tenants_of_one_network_are_kept_apart(self):
        """Each tenant has a router of each product, one named by vanId and one by tenantId, and one service name."""
        for near, far in BOTH_WAYS:
            with self.part(near=near, far=far):
                hub = self.make(far, "hub")
                port = hub.listen_for_routers()
                ports = {}
                for tenant, listening, connecting in (("red", near, far), ("blue/sky", far, near)):
                    one = self.make(listening, f"one-{tenant[:3]}", vanId=tenant)
                    two = self.make(connecting, f"two-{tenant[:3]}", vanId="overridden")
                    two.add("network", tenantId=tenant)
                    ports[tenant] = one.tcp_listener("svc")
                    two.tcp_connector("svc", self.keep(says(tenant)).port)
                    one.connect_to(port)
                    two.connect_to(port)
                # A router of no tenant reaches a tenant's service by its whole name only.
                bare, whole = hub.tcp_listener("svc"), hub.tcp_listener("blue/sky/svc")
                self.start_all()
                for tenant, listener in ports.items():
                    self.await_answer(listener, tenant)
                self.await_answer(whole, "blue/sky")
                for _ in range(10):
                    for tenant, listener in ports.items():
                        self.assertEqual(answer(listener), tenant)
                self.assertTrue(is_refused(bare))

    def test_rows_and_records_are_the_same(self):
        seen = {}
        for product in (OURS, THEIRS):
            with self.part(product=product):
                router = self.make(product, "alone", vanId="red")
                port = router.tcp_listener("svc", name="front")
                router.tcp_connector("svc", self.keep(Server(echo)).port, name="back")
                self.start_all()
                self.exchanges(port, (1000,), 1)
                with self.management(router) as management:
                    rows = {kind: [row["address"] for row in management.query(kind)]
                            for kind in ("tcpListener", "tcpConnector")}
                    rows["router.address"] = sorted(
                        row["name"] for row in management.query("router.address") if row["name"].endswith("svc"))
                    rows["vanId"] = management.query("router")[0]["vanId"]
                collector = self.keep(Collector(router.amqp_port))
                for kind in ("LISTENER", "CONNECTOR"):
                    found = wait_until(f"a record {kind}", lambda k=kind: collector.find(k), 25)
                    rows[kind] = [record["address"] for record in found]
                seen[product] = rows
        self.assertEqual(seen[OURS], seen[THEIRS])
        self.assertEqual(seen[OURS]["LISTENER"], ["red/svc"])
        self.assertEqual(seen[OURS]["tcpListener"], ["svc"])


@needs_skrouterd
class Networks(MixedCase):
    """With a networkId skrouterd writes reply addresses with the network's name in them."""

    def service(self, near, far):
        far.tcp_connector("svc", self.keep(Server(echo)).port)
        return near.tcp_listener("svc")

    def exchanged(self, port):
        self.await_exchange(port)
        data = RANDOM.randbytes(300_000)
        self.assertEqual(exchange(port, data), data)

    def test_services_across_products(self):
        for near, far in BOTH_WAYS:
            for between in (OURS, THEIRS):
                with self.part(near=near, far=far, between=between):
                    routers = [self.make(product, name) for product, name in
                               ((near, "near"), (between, "between"), (far, "far"))]
                    for router in routers:
                        router.add("network", networkId="west", tenantId="red")
                    routers[0].connect_to(routers[1].listen_for_routers())
                    routers[2].connect_to(routers[1].listen_for_routers())
                    ports = [self.service(routers[0], routers[2]), self.service(routers[1], routers[2])]
                    self.start_all()
                    for port in ports:
                        self.exchanged(port)

    def test_edge_routers(self):
        for below, above in BOTH_WAYS:
            with self.part(edge=below, interior=above):
                interior, edge = self.make(above, "interior"), self.make(below, "edge", mode="edge")
                for router in (interior, edge):
                    router.add("network", networkId="west")
                edge.connect_to(interior.listen_for_routers(role="edge"), role="edge")
                ports = [self.service(edge, interior)]
                edge.tcp_connector("other", self.keep(Server(echo)).port)
                ports.append(interior.tcp_listener("other"))
                self.start_all()
                for port in ports:
                    self.exchanged(port)
