"""Apache Qpid Proton's client against our router: somebody else's AMQP engine must agree with ours."""

import contextlib
import json
import pathlib
import pickle
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))

from proton import ConnectionException, Delivery, Message, SSLDomain, ulong  # noqa: E402
from proton.utils import BlockingConnection, SyncRequestResponse  # noqa: E402

from harness import SLOWNESS, MeshCase, Server, echo, exchange, free_port, is_refused, wait_until  # noqa: E402

PREFIX = "io.skupper.router."
TYPES = ["router", "listener", "connector", "sslProfile", "tcpListener", "tcpConnector", "router.link", "router.node",
         "router.address", "connection"]


class ProtonCase(MeshCase):
    def setUp(self):
        super().setUp()
        self.server = self.keep(Server(echo))
        self.one = self.router("one", self.authority)
        self.two = self.router("two", self.authority)
        self.one.connect_to(self.two.listen_for_routers())
        self.amqps_port = free_port()
        self.one.add("listener", name="amqps", role="normal", host="127.0.0.1", port=self.amqps_port,
                     sslProfile="mesh", saslMechanisms="EXTERNAL", authenticatePeer=True)
        self.port = self.one.tcp_listener("service")
        self.two.tcp_connector("service", self.server.port)
        self.two.start()
        self.one.start()
        self.await_service(self.port)

    def connect(self, router=None, **options):
        connection = BlockingConnection(f"amqp://127.0.0.1:{(router or self.one).amqp_port}", timeout=10 * SLOWNESS,
                                        **options)
        self.addCleanup(connection.close)
        return connection

    def secure(self, identity):
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(str(self.authority.certificate))
        if identity is not None:
            domain.set_credentials(str(identity / "tls.crt"), str(identity / "tls.key"), None)
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
        return BlockingConnection(f"amqps://127.0.0.1:{self.amqps_port}", ssl_domain=domain, timeout=10 * SLOWNESS,
                                  allowed_mechs="EXTERNAL")

    def ask(self, connection, operation, body=None, address="$management", **properties):
        """(status, description, body) of one management request."""
        client = SyncRequestResponse(connection, address)
        try:
            reply = client.call(Message(properties={"operation": operation, **properties}, body=body or {}))
        finally:
            client.sender.close()
            client.receiver.close()
        return reply.properties["statusCode"], reply.properties["statusDescription"], reply.body

    def query(self, connection, kind, address="$management"):
        status, text, body = self.ask(connection, "QUERY", {"attributeNames": []}, address, entityType=PREFIX + kind)
        self.assertEqual((status, text), (200, "OK"))
        return [dict(zip(body["attributeNames"], row)) for row in body["results"]]


class Reading(ProtonCase):
    def test_every_type_can_be_queried(self):
        connection = self.connect()
        for kind in TYPES:
            with self.subTest(type=kind):
                rows = self.query(connection, kind)
                for row in rows:
                    self.assertIn("identity", row)
                    self.assertTrue(row["type"].endswith(kind), row["type"])
                self.assertTrue(rows, "nothing of this type") if kind != "tcpConnector" else self.assertEqual(rows, [])

    def test_values_that_a_controller_reads(self):
        connection = self.connect()
        [router] = self.query(connection, "router")
        self.assertEqual((router["id"], router["mode"]), ("one", "interior"))
        nodes = {node["id"]: node for node in self.query(connection, "router.node")}
        self.assertEqual(nodes.keys(), {"one", "two"})
        self.assertEqual(nodes["one"]["nextHop"], "(self)")
        self.assertEqual(nodes["two"]["address"], "amqp:/_topo/0/two")
        [connector] = self.query(connection, "connector")
        self.assertEqual((connector["role"], connector["cost"]), ("inter-router", 1))
        [listener] = self.query(connection, "tcpListener")
        self.assertEqual((listener["address"], listener["operStatus"]), ("service", "up"))
        roles = [entity["role"] for entity in self.query(connection, "connection")]
        self.assertIn("inter-router", roles)
        addresses = {entity["name"] for entity in self.query(connection, "router.address")}
        self.assertTrue(any(name.endswith("service") for name in addresses), addresses)

    def test_named_attributes_come_in_the_order_asked_for(self):
        connection = self.connect()
        status, _, body = self.ask(connection, "QUERY", {"attributeNames": ["port", "name"]},
                                   entityType=PREFIX + "tcpListener")
        self.assertEqual(status, 200)
        self.assertEqual(body["attributeNames"], ["port", "name"])
        self.assertEqual(body["results"], [[str(self.port), f"listener/service/{self.port}"]])

    def test_paging(self):
        """Pages are pieces of the whole in one order, for rows of the control thread and for rows of the loops."""
        for number in range(5):
            self.one.tcp_listener(f"page-{number}")
        connection = self.connect()
        for _, attributes in self.one.entities[-5:]:
            self.assertEqual(self.ask(connection, "CREATE", attributes, type=PREFIX + "tcpListener",
                                      name=attributes["name"])[0], 201)
        # One client for all requests: its links and its reply address are rows too.
        client = SyncRequestResponse(connection, "$management")
        self.page(client, "router.link", None, None)
        for kind in ("router.address", "tcpListener", "router.link", "log"):
            with self.subTest(type=kind):
                everything = self.page(client, kind, None, None)
                total = len(everything)
                self.assertGreater(total, 5)
                self.assertEqual(len(set(everything)), total)
                for offset, count in ((1, 2), (0, 1), (0, total), (total - 1, 5), (total - 2, 2), (3, 0), (2, None),
                                      (None, 3), (total, 1), (total + 100, 10), (1 << 31, None)):
                    end = None if count is None else (offset or 0) + count
                    self.assertEqual(self.page(client, kind, offset, count), everything[offset or 0:end],
                                     f"offset {offset}, count {count} of {total}")

    def page(self, client, kind, offset, count):
        """Identities of one page."""
        limits = {name: value for name, value in (("offset", offset), ("count", count)) if value is not None}
        reply = client.call(Message(properties={"operation": "QUERY", "entityType": PREFIX + kind, **limits},
                                    body={"attributeNames": ["identity"]}))
        self.assertEqual(reply.properties["statusCode"], 200)
        self.assertEqual(reply.body["attributeNames"], ["identity"])
        return [row[0] for row in reply.body["results"]]

    def test_remote_router_through_its_own_address(self):
        self.await_way_back()
        [router] = self.query(self.connect(), "router", address="amqp:/_topo/0/two/$management")
        self.assertEqual(router["id"], "two")

    def test_reply_address_is_known_to_every_loop_when_it_is_told(self):
        """An answer can come in on another loop than the one that made the address: 40 quick clients, none waits."""
        self.await_way_back()
        for _ in range(40):
            with contextlib.closing(self.connect()) as connection:
                [router] = self.query(connection, "router", address="amqp:/_topo/0/two/$management")
                self.assertEqual(router["id"], "two")

    def await_way_back(self):
        """The answer of router two needs a path to router one, which it learns on its own time."""
        there = self.connect(self.two)
        wait_until("router two to have a path to router one",
                   lambda: "one" in [node["id"] for node in self.query(there, "router.node")], seconds=10)

    def test_correlation_id_comes_back(self):
        connection = self.connect()
        receiver = connection.create_receiver(None, dynamic=True)
        sender = connection.create_sender("$management")
        for correlation in (ulong(1 << 40), "text", 7):
            sender.send(Message(reply_to=receiver.remote_source.address, correlation_id=correlation, body={},
                                properties={"operation": "QUERY", "entityType": PREFIX + "router"}))
            answer = receiver.receive(timeout=10)  # sent settled, so there is nothing to accept
            self.assertEqual(answer.correlation_id, correlation)


class Changing(ProtonCase):
    def test_create_read_update_delete(self):
        connection = self.connect()
        port = free_port()
        attributes = {"host": "127.0.0.1", "port": str(port), "address": "service"}
        kind = PREFIX + "tcpListener"
        status, text, body = self.ask(connection, "CREATE", attributes, type=kind, name="second")
        self.assertEqual((status, text, body["port"]), (201, "Created", str(port)))
        self.assertEqual(exchange(port, b"hello"), b"hello")
        status, _, body = self.ask(connection, "READ", type=kind, name="second")
        self.assertEqual((status, body["address"], body["observer"]), (200, "service", "auto"))
        status, _, body = self.ask(connection, "READ", type=kind, identity=body["identity"])
        self.assertEqual((status, body["name"]), (200, "second"))
        status, _, body = self.ask(connection, "UPDATE", {"observer": "none"}, type=kind, name="second")
        self.assertEqual((status, body["observer"]), (200, "none"))
        self.assertEqual(self.ask(connection, "CREATE", attributes, type=kind, name="second")[0], 400)
        status, text, _ = self.ask(connection, "DELETE", type=kind, name="second")
        self.assertEqual((status, text), (204, "No Content"))
        wait_until("the listener to be closed", lambda: is_refused(port), 5)
        self.assertEqual(self.ask(connection, "READ", type=kind, name="second")[0], 404)

    def test_each_configured_type_can_be_created_and_deleted(self):
        connection = self.connect()
        identity = self.authority.issue("one")
        files = {"certFile": str(identity / "tls.crt"), "privateKeyFile": str(identity / "tls.key"),
                 "caCertFile": str(identity / "ca.crt")}
        cases = [("sslProfile", files),
                 ("listener", {"host": "127.0.0.1", "port": str(free_port()), "role": "normal"}),
                 ("connector", {"host": "127.0.0.1", "port": str(free_port()), "role": "inter-router"}),
                 ("tcpConnector", {"host": "127.0.0.1", "port": str(free_port()), "address": "elsewhere"})]
        for kind, attributes in cases:
            with self.subTest(type=kind):
                status, text, _ = self.ask(connection, "CREATE", attributes, type=PREFIX + kind, name="new")
                self.assertEqual(status, 201, text)
                status, _, body = self.ask(connection, "READ", type=PREFIX + kind, name="new")
                self.assertEqual(status, 200)
                for name, value in attributes.items():
                    self.assertEqual(str(body[name]), value)
                self.assertEqual(self.ask(connection, "DELETE", type=PREFIX + kind, name="new")[0], 204)
                self.assertEqual(self.ask(connection, "READ", type=PREFIX + kind, name="new")[0], 404)

    def test_what_may_not_be_done(self):
        connection = self.connect()
        for expected, operation, properties in (
                (404, "READ", {"type": PREFIX + "tcpListener", "name": "nosuch"}),
                (404, "QUERY", {"entityType": PREFIX + "nosuch"}),
                (501, "FROBNICATE", {"type": PREFIX + "router", "name": "one"})):
            with self.subTest(operation=operation):
                status, text, _ = self.ask(connection, operation, {}, **properties)
                self.assertIn(status, (expected, 400))
                self.assertTrue(text)


class Security(ProtonCase):
    def test_management_over_tls_with_a_certificate(self):
        connection = self.secure(self.authority.issue("client"))
        self.addCleanup(connection.close)
        self.assertEqual(self.query(connection, "router")[0]["id"], "one")
        users = [entity["user"] for entity in self.query(connection, "connection")]
        self.assertIn("CN=client", users)

    def test_no_certificate_no_connection(self):
        with self.assertRaises((ConnectionException, OSError)):
            self.secure(None).close()


class Messages(ProtonCase):
    """Ordinary AMQP messages between two Proton clients, across both routers."""

    def test_messages_arrive_in_order_and_are_settled(self):
        bodies = [{"number": number, "text": "x" * (number * 7)} for number in range(200)]
        self.assertEqual(self.carry("orders", bodies), bodies)

    def test_message_of_many_frames(self):
        body = bytes(range(256)) * 4000
        [received] = self.carry("bulk", [body])
        self.assertEqual(received, body)

    def carry(self, address, bodies):
        """Sends by router one to a receiver at router two; each message waits until the one before is settled."""
        receiver = self.connect(self.two).create_receiver(address, credit=10)
        self.wait_for_address(address)
        program = pathlib.Path(__file__).with_name("proton_sender.py")
        sender = subprocess.Popen([sys.executable, program, f"amqp://127.0.0.1:{self.one.amqp_port}", address],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(sender.kill)
        sender.stdin.write(pickle.dumps(bodies))
        sender.stdin.close()
        received = []
        for _ in bodies:
            message = receiver.receive(timeout=20 * SLOWNESS)
            # Proton gives a binary body as a view of memory that is freed with its message: copy it before.
            received.append(bytes(message.body) if isinstance(message.body, memoryview) else message.body)
            receiver.accept()
        # Proton writes the last acceptance only when its connection is used once more.
        receiver.connection.create_sender("$management").close()
        self.assertEqual(json.loads(sender.stdout.read()), [int(Delivery.ACCEPTED)] * len(bodies))
        sender.stdout.close()
        self.assertEqual(sender.wait(20 * SLOWNESS), 0)
        return received

    def test_link_can_be_closed_and_made_again(self):
        connection = self.connect()
        for _ in range(20):
            sender = connection.create_sender("$management")
            sender.close()
        self.assertEqual(self.query(connection, "router")[0]["id"], "one")

    def wait_for_address(self, name):
        connection = self.connect()
        wait_until(f"address {name} to be known in router one", lambda: any(
            entity["name"].endswith(name) and (entity.get("remoteCount") or entity.get("subscriberCount"))
            for entity in self.query(connection, "router.address")), 10)


if __name__ == "__main__":
    unittest.main()
