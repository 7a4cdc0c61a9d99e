"""The router in the hands of another project's adaptor: its configuration file and its management calls, in its form.

That adaptor gives every request the same correlation-id, asks with arrays of strings, sends all attributes of an entity
in an UPDATE, and ports as text. It looks at few statuses, so a call that is refused goes unnoticed there: here each has
to succeed and to take effect.
"""

import json
import struct
import unittest

import amqp_wire
from amqp_wire import ManagementClient, ULong
from harness import MeshCase, Server, echo, exchange, free_port, wait_until


class StringArray(list):
    """An AMQP array of strings, which is how that adaptor sends attribute names."""


def _encode(value, plain=amqp_wire.encode):
    if isinstance(value, StringArray):
        body = b"".join(struct.pack(">I", len(item)) + item.encode() for item in value)
        return b"\xf0" + struct.pack(">II", len(body) + 5, len(value)) + b"\xb1" + body
    if isinstance(value, dict):
        body = b"".join(_encode(item) for pair in value.items() for item in pair)
        return b"\xd1" + struct.pack(">II", len(body) + 4, 2 * len(value)) + body
    return plain(value)


class Adaptor(ManagementClient):
    """Requests as that adaptor makes them."""

    def request(self, operation, body=None, **properties):
        number = next(self._numbers)
        correlation = ULong(1)
        sections = [
            (amqp_wire.PROPERTIES, [None, None, None, None, self.reply_to, correlation]),
            (amqp_wire.APPLICATION_PROPERTIES, {"operation": operation, **properties}),
        ]
        message = b"".join(amqp_wire.encode(amqp_wire.Described(ULong(code), value)) for code, value in sections)
        if body is not None:
            message += b"\x00" + amqp_wire.encode(ULong(amqp_wire.AMQP_VALUE)) + _encode(body)
        self.peer.send(amqp_wire.TRANSFER, amqp_wire.UInt(1), amqp_wire.UInt(number), number.to_bytes(4, "big"),
                       amqp_wire.UInt(0), True, False, payload=message)
        return self._response(correlation)

    def rows(self, kind):
        """All attributes of all entities of a type."""
        body = self._checked("QUERY", {"attributeNames": StringArray()}, entityType=f"io.skupper.router.{kind}")
        return [dict(zip(body["attributeNames"], row)) for row in body["results"]]

    def row(self, kind, name):
        return next((row for row in self.rows(kind) if row.get("name") == name), None)

    def make(self, kind, **record):
        self._checked("CREATE", record, type=f"io.skupper.router.{kind}", name=record["name"])

    def change(self, kind, **record):
        self._checked("UPDATE", record, type=f"io.skupper.router.{kind}", name=record["name"])

    def remove(self, kind, name):
        # No body at all.
        self._checked("DELETE", None, type=f"io.skupper.router.{kind}", name=name)


class KubeAdaptor(MeshCase):
    def profile(self, name, identity, **more):
        return {"name": name, "certFile": str(identity / "tls.crt"), "privateKeyFile": str(identity / "tls.key"),
                "caCertFile": str(identity / "ca.crt"), **more}

    def setUp(self):
        super().setUp()
        self.peer = self.router("peer", self.authority)
        self.link_port = self.peer.listen_for_routers()
        self.peer.start()
        self.one = self.router("west-pod-1", self.authority)
        identity = self.authority.issue("skupper-router-local")
        access = free_port()
        self.one.entities = [
            ["router", {"id": "west-pod-1", "mode": "interior", "helloMaxAgeSeconds": "3", "dataConnectionCount": "2",
                        "metadata": json.dumps({"id": "site-1", "version": "2.3.0", "platform": "kubernetes"})}],
            ["sslProfile", self.profile("skupper-local-server", identity)],
            ["sslProfile", self.profile("skupper-site-server", identity, ordinal=1)],
            ["listener", {"name": "@9090", "role": "normal", "host": "127.0.0.1", "port": self.one.http_port,
                          "http": True, "httpRootDir": "disabled", "healthz": True, "metrics": True}],
            ["listener", {"name": "amqp", "host": "localhost", "port": self.one.amqp_port}],
            ["listener", {"name": "amqps", "host": "127.0.0.1", "port": free_port(),
                          "sslProfile": "skupper-local-server", "saslMechanisms": "EXTERNAL",
                          "authenticatePeer": True}],
            ["listener", {"name": "skupper-router-inter-router", "role": "inter-router", "host": "127.0.0.1",
                          "port": access, "sslProfile": "skupper-site-server", "saslMechanisms": "EXTERNAL",
                          "authenticatePeer": True}],
            ["address", {"prefix": "mc", "distribution": "multicast"}],
            ["log", {"module": "ROUTER_CORE", "enable": "error+"}],
        ]
        self.one.start()
        self.adaptor = Adaptor(self.one.amqp_port)
        self.addCleanup(self.adaptor.peer.close)
        self.identity = identity

    def test_profiles_links_and_services(self):
        adaptor = self.adaptor
        self.assertEqual(json.loads(adaptor.rows("router")[0]["metadata"])["id"], "site-1")
        # A profile is made, then raised to its next generation with all attributes.
        adaptor.make("sslProfile", **self.profile("token-profile", self.identity, ordinal=ULong(1)))
        adaptor.change("sslProfile", **self.profile("token-profile", self.identity, ordinal=ULong(2),
                                                    oldestValidOrdinal=ULong(1)))
        self.assertEqual(adaptor.row("sslProfile", "token-profile")["ordinal"], 2)
        # A link is the connector, without verifyHostname; its text ends in SUCCESS.
        adaptor.make("connector", name="token", role="inter-router", host="127.0.0.1", port=str(self.link_port),
                     cost=2, sslProfile="token-profile")
        wait_until("the link", lambda: adaptor.row("connector", "token")["connectionStatus"] == "SUCCESS", 20)
        self.assertEqual(adaptor.row("connector", "token")["cost"], 2)
        wait_until("the neighbour", lambda: {row["id"] for row in adaptor.rows("router.node")} == {
            "west-pod-1", "peer"}, 20)
        connection = next(row for row in adaptor.rows("connection") if row["role"] == "inter-router")
        self.assertEqual((connection["container"], connection["dir"]), ("peer", "out"))
        # Services: made in the adaptor's order, gone in the other one.
        with Server(echo) as server:
            port = free_port()
            adaptor.make("tcpConnector", name="connector/db@127.0.0.1", host="127.0.0.1", port=str(server.port),
                         address="db", siteId="site-1", processId="pod-uid")
            adaptor.make("tcpListener", name="listener/db", port=str(port), address="db", siteId="site-1",
                         observer="auto")
            wait_until("the service", lambda: self.answers(port), 20)
            multi = free_port()
            adaptor.make("tcpListener", name="multiAddress/m", port=str(multi), siteId="site-1",
                         multiAddressStrategy="priority")
            adaptor.make("listenerAddress", name="m/db", address="db", value=0, listener="multiAddress/m")
            wait_until("the service by several keys", lambda: self.answers(multi), 20)
            adaptor.remove("listenerAddress", "m/db")
            for name in ("multiAddress/m", "listener/db"):
                adaptor.remove("tcpListener", name)
            adaptor.remove("tcpConnector", "connector/db@127.0.0.1")
            for kind in ("tcpListener", "tcpConnector", "listenerAddress"):
                self.assertEqual(adaptor.rows(kind), [])
        adaptor.remove("connector", "token")
        adaptor.remove("sslProfile", "token-profile")
        self.assertIsNone(adaptor.row("sslProfile", "token-profile"))

    def answers(self, port):
        try:
            return exchange(port, b"hello", timeout=5) == b"hello"
        except OSError:
            return False

    def test_access_comes_and_goes(self):
        adaptor = self.adaptor
        port = free_port()
        adaptor.make("listener", name="extra-inter-router", role="inter-router", host="127.0.0.1", port=str(port),
                     sslProfile="skupper-site-server", saslMechanisms="EXTERNAL", authenticatePeer=True)
        row = adaptor.row("listener", "extra-inter-router")
        # What it reads back it compares with what it wants: the port as text.
        self.assertEqual((row["role"], str(row["port"]), row["sslProfile"]), (
            "inter-router", str(port), "skupper-site-server"))
        self.assertIsInstance(row["port"], str)
        adaptor.remove("listener", "extra-inter-router")
        self.assertIsNone(adaptor.row("listener", "extra-inter-router"))

    def test_a_proxy(self):
        adaptor = self.adaptor
        folder = self.one.folder / "px"
        folder.mkdir()
        password = folder / "password.txt"
        password.write_text("secret")
        adaptor.make("proxyProfile", name="px", host="127.0.0.1", port="3128", username="u",
                     password=f"file:{password}")
        adaptor.change("proxyProfile", name="px", host="127.0.0.1", port="3129", username="u",
                       password=f"file:{password}")
        self.assertEqual(adaptor.row("proxyProfile", "px")["port"], "3129")
        # Nothing listens there, so nothing gets past it.
        adaptor.make("connector", name="by-proxy", role="inter-router", host="127.0.0.1", port=str(self.link_port),
                     sslProfile="skupper-site-server", proxyProfile="px")
        wait_until("the proxy's refusal", lambda: "proxy 127.0.0.1:3129" in adaptor.row(
            "connector", "by-proxy")["connectionMsg"], 20)
        self.assertEqual(adaptor.row("connector", "by-proxy")["connectionStatus"], "FAILED")


if __name__ == "__main__":
    unittest.main(verbosity=2)
