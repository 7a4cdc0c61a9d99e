"""Attributes of TCP services and telemetry, with the two ends of different products."""

import collections
import contextlib
import random
import shutil
import ssl
import unittest

from skrouterd_case import BOTH_WAYS, OURS, THEIRS, MixedCase, at_once, needs_skrouterd

from harness import SEED, Authority, Server, client_context, connect, echo, exchange, free_port, wait_until
from telemetry_collector import Collector
from test_tls_services import TLSEnd, TLSServer, server_context, tls_echo

# Connections among weighted addresses.
ASKED = 300
# Clients of a TLS service together.
AT_ONCE = 200


@needs_skrouterd
class AttributeCase(MixedCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.public = Authority(cls.class_folder / "public", name="public CA")
        cls.web = cls.public.issue("web")

    def network(self, near, far):
        near, far = self.make(near, "near"), self.make(far, "far")
        near.connect_to(far.listen_for_routers())
        for router in (near, far):
            router.add("address", prefix="mc", distribution="multicast")
        return near, far


class TLSServices(AttributeCase):
    def secure(self, near, far, handler=tls_echo, **listener):
        server = self.keep(TLSServer(handler, server_context(self.web, alpn=["h2", "http/1.1"])))
        near.add("sslProfile", name="web", certFile=str(self.web / "tls.crt"),
                 privateKeyFile=str(self.web / "tls.key"), caCertFile=str(self.web / "ca.crt"))
        far.add("sslProfile", name="trust", caCertFile=str(self.web / "ca.crt"))
        port = near.tcp_listener("secure", sslProfile="web", **listener)
        far.tcp_connector("secure", server.port, sslProfile="trust", host="localhost")
        self.start_all()
        self.await_service(port, 20)
        return port, server

    def dial(self, port, alpn=None, identity=None):
        context = client_context(self.public.certificate, identity)
        if alpn:
            context.set_alpn_protocols(alpn)
        return TLSEnd(self.keep(connect(port)), context, name="localhost").handshake()

    def test_exact_octets_and_both_ends(self):
        for near, far in BOTH_WAYS:
            with self.part(listener=near, connector=far):
                port, _ = self.secure(*self.network(near, far))
                for size in (0, 1, 16_385, 90_000):
                    data = random.Random(SEED).randbytes(size)
                    end = self.dial(port)
                    end.send(data)
                    end.finish()
                    # An end without close_notify would be raised.
                    self.assertEqual(end.receive_all(), data, f"{size} octets, seed {SEED}")

    def test_large_answer_after_the_client_has_ended(self):
        block = random.Random(SEED).randbytes(5_000_000)

        def server(end):
            end.receive_all()
            end.send(block)
            end.finish()
        for near, far in BOTH_WAYS:
            with self.part(listener=near, connector=far):
                port, _ = self.secure(*self.network(near, far), handler=server)
                end = self.dial(port)
                end.send(b"all of it, please")
                end.finish()
                self.assertEqual(end.receive_all(), block, f"seed {SEED}")

    def test_many_at_once_and_a_long_one(self):
        """200 clients together, while 30 MB go there and back on one connection more."""
        long = random.Random(SEED).randbytes(30_000_000)

        def one(index):
            data = long if index == AT_ONCE else index.to_bytes(4, "big") * 1000
            with connect(self.port, 120) as connection:
                end = TLSEnd(connection, client_context(self.public.certificate), name="localhost").handshake()
                if data is long:
                    # In pieces that are answered, for one thread has both directions.
                    for at in range(0, len(data), 1 << 16):
                        piece = data[at:at + (1 << 16)]
                        end.send(piece)
                        got = b""
                        while len(got) < len(piece):
                            got += end.receive()
                        if got != piece:
                            raise AssertionError(f"other octets at {at}")
                    return
                end.send(data)
                end.finish()
                if end.receive_all() != data:
                    raise AssertionError("other octets")
        for near, far in BOTH_WAYS:
            with self.part(listener=near, connector=far):
                self.port, _ = self.secure(*self.network(near, far))
                self.assertEqual(at_once(AT_ONCE + 1, one, 120), [])

    def test_application_protocol_is_carried(self):
        for near, far in BOTH_WAYS:
            with self.part(listener=near, connector=far):
                port, server = self.secure(*self.network(near, far))
                for offered, expected in ((["http/1.1"], "http/1.1"), (["h2"], "h2"), (["h2", "http/1.1"], "http/1.1"),
                                          (None, None)):
                    server.seen.clear()
                    end = self.dial(port, alpn=offered)
                    end.send(b"a")
                    self.assertEqual(end.receive(1), b"a")
                    self.assertEqual(end.tls.selected_alpn_protocol(), expected)
                    self.assertIn(expected, [seen[0] for seen in server.seen])


class Peers(AttributeCase):
    """Who is let in, by the product whose socket it is; the other end of the service is the other product's."""

    def rejected(self, port, identity):
        """A client with this certificate gets no octet through."""
        context = client_context(self.public.certificate, identity)
        try:
            with connect(port) as connection:
                end = TLSEnd(connection, context, name="localhost").handshake()
                end.send(b"let me in")
                return end.receive() == b""
        except (ssl.SSLError, ConnectionError):
            return True

    def test_authenticate_peer(self):
        stranger = Authority(self.class_folder / "stranger", name="stranger CA").issue("stranger")
        for near, far in BOTH_WAYS:
            with self.part(listener=near, connector=far):
                near, far = self.network(near, far)
                self.profile(near, "web", self.web)
                port = near.tcp_listener("guarded", sslProfile="web", authenticatePeer=True)
                far.tcp_connector("guarded", self.keep(Server(echo)).port)
                self.start_all()
                self.await_service(port, 20)
                for identity in (None, stranger):
                    self.assertTrue(self.rejected(port, identity), identity)
                self.assertFalse(self.rejected(port, self.public.issue("client")))

    def test_name_of_the_server(self):
        """A certificate for another name is refused by the connector, unless it is told not to look."""
        elsewhere = self.public.issue("elsewhere", hosts=("elsewhere.example",))
        for near, far in BOTH_WAYS:
            with self.part(listener=near, connector=far):
                near, far = self.network(near, far)
                far.add("sslProfile", name="trust", caCertFile=str(self.web / "ca.crt"))
                ports = {}
                for name, identity, attributes in (("right", self.web, {}), ("wrong", elsewhere, {}),
                                                   ("any", elsewhere, {"verifyHostname": False})):
                    server = self.keep(TLSServer(tls_echo, server_context(identity)))
                    far.tcp_connector(name, server.port, sslProfile="trust", host="localhost", **attributes)
                    ports[name] = near.tcp_listener(name)
                self.start_all()
                for name, port in ports.items():
                    self.await_service(port, 20)
                    for _ in range(3):
                        with connect(port) as connection, contextlib.suppress(ConnectionError):
                            connection.sendall(b"hello")
                            self.assertEqual(connection.recv(5), b"" if name == "wrong" else b"hello", name)

    def test_certificate_of_a_connector(self):
        for near, far in BOTH_WAYS:
            with self.part(listener=near, connector=far):
                near, far = self.network(near, far)
                self.profile(far, "client", self.public.issue("client"))
                server = self.keep(TLSServer(tls_echo, server_context(self.web, self.public.certificate)))
                far.tcp_connector("known", server.port, sslProfile="client", host="localhost")
                port = near.tcp_listener("known")
                self.start_all()
                self.await_exchange(port)
                names = {pair[0][1] for _, peer, _ in server.seen if peer for pair in peer["subject"]}
                self.assertEqual(names, {"client"})

    def test_profile_with_new_files(self):
        """New connections show the new certificate, those that were open go on."""
        for near, far in BOTH_WAYS:
            with self.part(listener=near, connector=far):
                near, far = self.network(near, far)
                folder = self.folder / f"files-{near.product}"
                shutil.copytree(self.web, folder)
                self.profile(near, "web", folder)
                port = near.tcp_listener("renewed", sslProfile="web")
                far.tcp_connector("renewed", self.keep(Server(echo)).port)
                self.start_all()
                self.await_service(port, 20)
                old = self.serial(port)
                open_one = self.dial(port)
                newer = self.public.issue(f"newer-{near.product}")
                for name in ("tls.crt", "tls.key"):
                    shutil.copy(newer / name, folder / name)
                with self.management(near) as management:
                    management.update("sslProfile", "web", ordinal=1)
                wait_until("the new certificate", lambda: self.serial(port) != old, 10)
                open_one.send(b"still here")
                self.assertEqual(open_one.receive(10), b"still here")
                # Files that do not fit are refused at once, and what was stays in use.
                new = self.serial(port)
                (folder / "tls.key").write_text("no key")
                with self.management(near) as management:
                    status, text, _ = management.request("UPDATE", {"ordinal": 2}, name="web",
                                                         type="io.skupper.router.sslProfile")
                self.assertEqual(status, 400 if near.product == OURS else 500, text)
                self.assertEqual(self.serial(port), new)

    def profile(self, router, name, identity):
        router.add("sslProfile", name=name, certFile=str(identity / "tls.crt"),
                   privateKeyFile=str(identity / "tls.key"), caCertFile=str(identity / "ca.crt"))

    def dial(self, port):
        return TLSEnd(self.keep(connect(port)), client_context(self.public.certificate), name="localhost").handshake()

    def serial(self, port):
        with connect(port) as connection:
            end = TLSEnd(connection, client_context(self.public.certificate), name="localhost").handshake()
            return end.tls.getpeercert()["serialNumber"]


class SeveralAddresses(AttributeCase):
    def test_weights_across_products(self):
        for near, far in BOTH_WAYS:
            with self.part(listener=near, connector=far):
                near, far = self.network(near, far)
                port = free_port()
                near.add("tcpListener", name="front", host="127.0.0.1", port=str(port),
                         multiAddressStrategy="weighted")
                for address, weight in (("heavy", 3), ("light", 1), ("never", 0)):
                    near.add("listenerAddress", name=address, listener="front", address=address, value=weight)
                    server = self.keep(Server(lambda connection, a=address: connection.sendall(a.encode())))
                    far.tcp_connector(address, server.port, name=address)
                self.start_all()
                self.await_service(port, 20)
                wait_until("both addresses to be used", lambda: {self.ask(port) for _ in range(20)} >= {
                    "heavy", "light"}, 15)
                counts = collections.Counter(self.ask(port) for _ in range(ASKED))
                # Binomial with p = 1/4: five standard deviations.
                self.assertLess(abs(counts["light"] - ASKED / 4), 5 * (ASKED * 3 / 16) ** 0.5, counts)
                self.assertEqual((counts["never"], sum(counts.values())), (0, ASKED), counts)

    def ask(self, port):
        with contextlib.suppress(OSError), connect(port) as connection:
            return connection.recv(100).decode()

    def test_priority_across_products(self):
        for near, far in BOTH_WAYS:
            with self.part(listener=near, connector=far):
                near, far = self.network(near, far)
                port = near.tcp_listener("unused")
                near.entities.pop()
                near.add("tcpListener", name="front", host="127.0.0.1", port=str(port),
                         multiAddressStrategy="priority")
                for address, value in (("best", 9), ("other", 1)):
                    near.add("listenerAddress", name=address, listener="front", address=address, value=value)
                    server = self.keep(Server(lambda connection, a=address: connection.sendall(a.encode())))
                    far.tcp_connector(address, server.port, name=address)
                self.start_all()
                self.await_service(port, 20)

                def asked(expected):
                    try:
                        with connect(port) as connection:
                            return connection.recv(100).decode() == expected
                    except OSError:
                        return False
                wait_until("the best address", lambda: asked("best"), 15)
                with self.management(far) as management:
                    management.delete("tcpConnector", "best")
                wait_until("the other address", lambda: asked("other"), 15)


class Telemetry(AttributeCase):
    # Attributes that only one product gives, and why.
    ONLY_THEIRS = {}
    # Without SKUPPER_SITE_ID and HOSTNAME in its environment skrouterd names neither its site nor its host.
    # It names a link's port and not its host.
    ONLY_OURS = {"ROUTER": {"parent", "host_name"}, "SITE": {"start"}, "LINK": {"destination_host"}}

    def observed(self, near, far, at):
        near, far = self.network(near, far)
        for router in (near, far):
            router.add("site", name=f"site-{router.name}", platform="linux", namespace=router.name)
        server = self.keep(Server(echo))
        port = near.tcp_listener("svc", name="front")
        far.tcp_connector("svc", server.port, name="back", processId="process-1")
        # The one that is dialled first: a link whose first attempt failed has more to tell than one that did not.
        self.start_all(far)
        self.start_all(near)
        self.await_service(port, 20)
        collector = self.keep(Collector((near if at == "near" else far).amqp_port))
        wait_until("both routers' beacons", lambda: len(collector.sources) == 2, 25)
        wait_until("both routers' records", lambda: all(map(collector.is_told, list(collector.sources))), 25)

        def complete():
            exchange(port, b"q" * 1000)
            # One that began before the collector was heard lacks what its first record said.
            return [flow for flow in collector.find("FLOW")
                    if {"parent", "end", "connector"} <= set(flow) and flow.get("octets") == 1000]
        flows = wait_until("a flow told by both routers", complete, 30, 0.5)
        return collector, flows[-1]

    def attributes(self, collector, kind, **wanted):
        found = collector.find(kind, **wanted)
        return set(found[0]) if found else set()

    def test_flows_are_told_by_both_products(self):
        for near, far in BOTH_WAYS:
            for at in ("near", "far"):
                with self.part(listener=near, connector=far, collector=at):
                    collector, flow = self.observed(near, far, at)
                    listener = collector.find("LISTENER", name="front")[0]
                    connector = collector.find("CONNECTOR", name="back")[0]
                    self.assertEqual((flow["parent"], flow["connector"], flow["trace"]),
                                     (listener["id"], connector["id"], "0/near"))
                    self.assertEqual((flow["octets"], flow["octets_reverse"]), (1000, 1000))
                    self.assertEqual(connector["process"], "process-1")
                    link = collector.find("LINK", status="up")[0]
                    access = collector.find("ROUTER_ACCESS")[0]
                    self.assertEqual(link["peer"], access["id"])
                    self.assertEqual(collector.faults, [])

    def test_records_have_the_same_attributes(self):
        seen = {}
        for product in (OURS, THEIRS):
            with self.part(product=product):
                collector, _ = self.observed(product, product, "near")
                wait_until("heartbeats", lambda: len(collector.heartbeats) == 2, 10)
                seen[product] = {kind: self.attributes(collector, kind) for kind in
                                 ("SITE", "ROUTER", "LINK", "ROUTER_ACCESS", "LISTENER", "CONNECTOR")}
                flows = [set(flow) for flow in collector.find("FLOW") if "end" in flow and "connector" in flow]
                seen[product]["FLOW"] = set.union(*flows)
        for kind, theirs in seen[THEIRS].items():
            ours = seen[OURS][kind]
            with self.subTest(kind=kind):
                self.assertEqual(theirs - ours, self.ONLY_THEIRS.get(kind, set()), f"missing in our {kind}")
                self.assertLessEqual(ours - theirs, self.ONLY_OURS.get(kind, set()), f"more in our {kind}")


if __name__ == "__main__":
    unittest.main()
