"""Tenants that share a network: services of one name, kept apart."""

import socket

from amqp_wire import ManagementClient
from harness import MeshCase, Server, connect, is_refused, receive_all, wait_until


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
