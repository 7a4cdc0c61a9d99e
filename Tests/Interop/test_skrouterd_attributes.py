"""Attributes of TCP services and telemetry, with the two ends of different products."""

import random
import unittest

from skrouterd_case import BOTH_WAYS, OURS, THEIRS, MixedCase, needs_skrouterd

from harness import SEED, Authority, Server, client_context, connect, echo, exchange, wait_until
from telemetry_collector import Collector
from test_tls_services import TLSEnd, TLSServer, server_context, tls_echo


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


class SeveralAddresses(AttributeCase):
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
