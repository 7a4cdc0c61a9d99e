"""Tenants that share a network, services of one name kept apart; networks that have names."""

import socket

from amqp_wire import DISPOSITION, ManagementClient
from harness import MeshCase, RouterCase, Server, connect, free_port, is_refused, receive_all, wait_until
from test_annotations import BODY, RELEASED, sender, transfer
from test_policy import Client


class Tenants(MeshCase):
    def says(self, word):
        def handler(connection):
            receive_all(connection)
            connection.sendall(word.encode())
        return self.keep(Server(handler)).port

    def answer(self, port):
        with connect(port) as connection:
            connection.shutdown(socket.SHUT_WR)
            return receive_all(connection).decode()

    def await_answer(self, port, word):
        self.await_service(port)
        wait_until(f"the answer {word}", lambda: self.answer(port) == word, 10)

    def test_one_name_in_two_tenants(self):
        """An interior router of no tenant, an edge router of each; one listener has several addresses."""
        hub = self.router("hub", self.authority)
        uplink = hub.listen_for_routers(role="edge")
        members = {}
        for tenant in ("red", "blue"):
            for part in ("near", "far"):
                member = self.router(f"{part}-{tenant}", self.authority, mode="edge")
                member.add("network", tenantId=tenant)
                member.connect_to(uplink, role="edge")
                members[tenant, part] = member
            members[tenant, "far"].tcp_connector("svc", self.says(tenant), name="server")
        ports = {tenant: members[tenant, "near"].tcp_listener("svc") for tenant in ("red", "blue")}
        red = members["red", "near"]
        several = red.tcp_listener("unused")
        red.entities[-1][1].pop("address")
        red.entities[-1][1].update(name="several", multiAddressStrategy="priority")
        red.add("listenerAddress", name="only", listener="several", address="svc", value=1)
        bare, whole = hub.tcp_listener("svc"), hub.tcp_listener("red/svc")
        for router in self.routers:
            router.start(wait=False)
        for router in self.routers:
            router.wait_healthy()
        for port, word in ((ports["red"], "red"), (ports["blue"], "blue"), (several, "red"), (whole, "red")):
            self.await_answer(port, word)
        for _ in range(10):
            self.assertEqual({tenant: self.answer(port) for tenant, port in ports.items()},
                             {"red": "red", "blue": "blue"})
        self.assertTrue(is_refused(bare))
        # What comes while the router runs belongs to the tenant too, and goes with its own name.
        with ManagementClient(members["red", "far"].amqp_port) as management:
            self.assertEqual(management.read("tcpConnector", "server")["address"], "svc")
            management.delete("tcpConnector", "server")
            wait_until("the listener to close", lambda: is_refused(ports["red"]), 10)
            management.create("tcpConnector", "new", host="127.0.0.1", port=str(self.says("new")), address="svc")
        self.await_answer(ports["red"], "new")
        self.assertEqual(self.answer(ports["blue"]), "blue")


class Networks(RouterCase):
    def reply_address(self, router):
        client = Client(router.amqp_port).begin()
        self.addCleanup(client.close)
        self.assertIsNone(client.dynamic())
        return str(client.source)

    def test_the_name_may_change(self):
        router = self.router("R")
        router.add("network", networkId="west")
        router.start()
        self.assertRegex(self.reply_address(router), "^amqp:/_xtopo/west/0/R/temp[.]")
        for name, place in (("east", "_xtopo/east/0/R"), ("0", "_topo/0/R"), ("north", "_xtopo/north/0/R")):
            # A client of its own each time: reply addresses with the name before lead nowhere.
            with ManagementClient(router.amqp_port) as management:
                row, = management.query("network")
                self.assertEqual(management.update("network", row["name"], networkId=name)["networkId"], name)
            wait_until(f"reply addresses in {place}",
                       lambda p=place: self.reply_address(router).startswith(f"amqp:/{p}/temp."), 10, 0.1)

    def test_nothing_goes_round(self):
        """Both networks pull one address, which nobody takes: the message is let go, not sent to and fro."""
        port = free_port()
        routers = [self.router(name) for name in ("W", "E")]
        routers[0].add("listener", name="cross", role="inter-network", host="127.0.0.1", port=port,
                       saslMechanisms="ANONYMOUS", authenticatePeer=False)
        routers[1].add("connector", name="cross", role="inter-network", host="127.0.0.1", port=port,
                       saslMechanisms="ANONYMOUS")
        for router in routers:
            router.add("network", networkId=router.name)
            router.add("autoLink", name="pull", connection="cross", direction="in", address="svc")
            router.start()
        for router in routers:
            with ManagementClient(router.amqp_port) as management:
                wait_until(f"the link of {router.name}", lambda m=management: [
                    row for row in m.query("router.address", "name", "subscriberCount")
                    if row["name"] == "Msvc" and row["subscriberCount"]], 10)
        client = sender(self, routers[0].amqp_port, "svc")
        transfer(client, 0, BODY)
        self.assertEqual(client.next_of(DISPOSITION)[1][4].descriptor, RELEASED)
        with ManagementClient(routers[0].amqp_port) as management:
            row, = management.query("routerMetrics", "deliveriesEgressInterNetwork", "deliveriesIngressInterNetwork")
        self.assertEqual(list(row.values()), [1, 0])
