"""Telemetry for collectors: what is recorded, that it is true, and that it is bounded and free when nobody looks."""

import contextlib
import socket
import threading
import time
import unittest

from amqp_wire import ManagementClient
from harness import SANITIZED, SLOWNESS, MeshCase, RouterCase, Server, connect, echo, exchange, free_port, wait_until
from telemetry_collector import Collector

CONNECTIONS = 300 if SANITIZED else 3000


class TelemetryCase(MeshCase):
    def service(self, handler=echo, **connector):
        self.server = self.keep(Server(handler))
        near, far = self.near, self.far = self.pair()
        for router in (near, far):
            router.add("address", prefix="mc", distribution="multicast")
            router.add("site", name=f"site-{router.name}", platform="linux", namespace=router.name)
        self.port = near.tcp_listener("svc", name="front")
        far.tcp_connector("svc", self.server.port, name="back", **connector)
        near.start()
        far.start()
        self.await_service(self.port)

    def collect(self, router=None):
        collector = self.keep(Collector((router or self.near).amqp_port))
        wait_until("both routers' beacons", lambda: len(collector.sources) == 2, 15)
        return collector

    def one(self, collector, kind, seconds=8, **wanted):
        found = []

        def present():
            found[:] = collector.find(kind, **wanted)
            return found
        wait_until(f"a {kind} record with {wanted}; there are {collector.find(kind)}", present, seconds)
        self.assertEqual(len(found), 1, found)
        return found[0]


class Records(TelemetryCase):
    def test_routers_links_accesses_and_services(self):
        self.service(processId="process-7")
        collector = self.collect()
        routers = {}
        for router in (self.near, self.far):
            record = routers[router.name] = self.one(collector, "ROUTER", name=f"0/{router.name}")
            self.assertRegex(record["id"], r"^.{5}:0$")
            self.assertEqual(record["mode"], "interior")
            self.assertEqual(record["host_name"], socket.gethostname())
            site = self.one(collector, "SITE", name=f"site-{router.name}")
            self.assertEqual((site["platform"], site["namespace"]), ("linux", router.name))
            self.assertEqual(record["parent"], site["id"])
        access = self.one(collector, "ROUTER_ACCESS", parent=routers["far"]["id"], link_count=1)
        self.assertEqual(access["role"], "inter-router")
        link = self.one(collector, "LINK", parent=routers["near"]["id"], status="up")
        # The dialling side names the access at the other end.
        self.assertEqual(link["peer"], access["id"])
        self.assertEqual((link["protocol"], link["cost"], link["destination_host"]), ("amqps", 1, "127.0.0.1"))
        listener = self.one(collector, "LISTENER", name="front")
        self.assertEqual((listener["parent"], listener["address"], listener["destination_port"], listener["protocol"]),
                         (routers["near"]["id"], "svc", str(self.port), "tcp"))
        connector = self.one(collector, "CONNECTOR", name="back")
        self.assertEqual((connector["parent"], connector["address"], connector["destination_port"],
                          connector["process"]),
                         (routers["far"]["id"], "svc", str(self.server.port), "process-7"))
        now = time.time() * 1e6
        for record in (link, access, listener, connector):
            self.assertLess(abs(record["start"] - now), 120e6)
        self.assertEqual(collector.faults, [])

    def test_deleted_service_ends_and_a_new_one_appears(self):
        self.service()
        collector = self.collect()
        old = self.one(collector, "LISTENER", name="front")
        self.assertNotIn("end", old)
        with ManagementClient(self.near.amqp_port) as management:
            management.delete("tcpListener", "front")
            wait_until("the record to end", lambda: "end" in collector.find("LISTENER", name="front")[0], 8)
            management.create("tcpListener", "again", host="127.0.0.1", port=str(free_port()), address="svc")
        self.assertNotEqual(self.one(collector, "LISTENER", name="again")["id"], old["id"])

    def test_lost_link_is_down_with_a_reason(self):
        self.service()
        collector = self.collect()
        link = self.one(collector, "LINK", status="up")
        self.far.process.kill()
        wait_until("the link to be down", lambda: collector.find("LINK", id=link["id"], status="down"), 10)
        # First that the connection was closed, then what became of the next attempt.
        wait_until("its reason",
                   lambda: "refused" in (collector.find("LINK", id=link["id"])[0].get("reason") or ""), 10)
        down = collector.find("LINK", id=link["id"])[0]
        self.assertEqual(down["down_count"], 1)
        self.assertGreaterEqual(down["down"], down["up"])

    def test_heartbeats_and_beacons(self):
        self.service()
        collector = self.collect()
        wait_until("three heartbeats of both",
                   lambda: [len(times) >= 3 for times in collector.heartbeats.values()] == [True, True], 15)
        for times in collector.heartbeats.values():
            gaps = [(later - earlier) / 1e6 for earlier, later in zip(times, times[1:])]
            self.assertTrue(all(1.5 < gap < 4 for gap in gaps), gaps)
        for identity, beacon in collector.beacons.items():
            self.assertEqual(beacon, {"v": 1, "sourceType": "ROUTER", "id": identity,
                                      "address": f"mc/sfe.{identity}", "direct": f"sfe.{identity}"})


class AtAnEdge(MeshCase):
    def test_a_later_collector_is_told_everything_by_the_interior_too(self):
        """What has been told before comes again only when the interior is asked by its telemetry address."""
        interior, edge = self.router("interior", self.authority), self.router("edge", self.authority, mode="edge")
        edge.connect_to(interior.listen_for_routers(role="edge"), role="edge")
        interior.start()
        edge.start()

        def is_told(collector):
            return len(collector.sources) == 2 and all(map(collector.is_told, list(collector.sources)))
        with Collector(interior.amqp_port) as first:
            wait_until("the records of both", lambda: is_told(first), 20)
            # Nothing that it asked for is still to be sent.
            first.await_heartbeats()
        later = self.keep(Collector(edge.amqp_port))
        wait_until("the records of both", lambda: is_told(later), 25)


class Turns(RouterCase):
    def test_collectors_take_turns_where_their_address_is_anycast(self):
        """Nobody has said that mc is multicast: what the router sends itself goes to one of them, each in turn."""
        router = self.router("alone")
        router.start()
        first, second = [self.keep(Collector(router.amqp_port)) for _ in range(2)]
        wait_until("a beacon at both", lambda: first.sources and second.sources, 30)


class Flows(TelemetryCase):
    def observed(self, collector):
        """Until flows are recorded: new connections show up."""
        def seen():
            exchange(self.port, b"probe")
            return collector.find("FLOW")
        wait_until("flows to be recorded", seen, 15, every=0.5)

    def test_one_connection_from_both_sides(self):
        def server(connection):
            request = connection.recv(1 << 16)
            time.sleep(0.2)
            connection.sendall(request * 3)
            connection.recv(1)
        self.service(server)
        collector = self.collect()
        self.observed(collector)
        with connect(self.port) as connection:
            host, port = connection.getsockname()
            connection.sendall(b"x" * 1000)
            got = 0
            while got < 3000:
                got += len(connection.recv(1 << 16))
            flow = self.one(collector, "FLOW", source_port=str(port), octets=1000, octets_reverse=3000)
            self.assertNotIn("end", flow)
        wait_until("the flow to end", lambda: "end" in collector.find("FLOW", source_port=str(port))[0], 10)
        flow = collector.find("FLOW", source_port=str(port))[0]
        listener, connector = self.one(collector, "LISTENER", name="front"), self.one(collector, "CONNECTOR",
                                                                                      name="back")
        self.assertEqual((flow["parent"], flow["source_host"]), (listener["id"], host))
        self.assertEqual((flow["connector"], flow["trace"], flow["proxy_host"]),
                         (connector["id"], "0/near", "127.0.0.1"))
        self.assertGreater(flow["end"], flow["start"])
        for latency in (flow["latency"], flow["process_latency"]):
            self.assertTrue(150_000 < latency < 5_000_000, flow)
        self.assertGreaterEqual(flow["latency"], flow["process_latency"])
        self.assertEqual(collector.faults, [])

    def test_refused_server_is_on_record(self):
        self.service()
        collector = self.collect()
        self.observed(collector)
        self.server.__exit__()
        with socket.socket() as connection:
            connection.bind(("127.0.0.1", 0))
            port = str(connection.getsockname()[1])
            connection.settimeout(30 * SLOWNESS)
            with contextlib.suppress(ConnectionResetError):  # which can come before connect() has returned
                connection.connect(("127.0.0.1", self.port))
                connection.recv(1)
        wait_until("the cause", lambda: any("refused" in flow.get("connector_error", "")
                                            for flow in collector.find("FLOW", source_port=port)), 10)

    def test_collector_at_the_other_router_sees_the_same(self):
        self.service()
        collector = self.collect(self.far)
        self.observed(collector)
        wait_until("a flow with both sides", lambda: [flow for flow in collector.find("FLOW")
                                                      if "connector" in flow and "end" in flow], 15)

    def test_many_connections_stay_within_rate_and_memory(self):
        self.service()
        collector = self.collect()
        self.observed(collector)
        before = self.near.process.resident_kilobytes()
        left = iter(range(CONNECTIONS))
        lock, failures = threading.Lock(), []

        def run():
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                try:
                    if exchange(self.port, b"q") != b"q":
                        failures.append("other octets")
                except OSError as error:
                    failures.append(error)
        threads = [threading.Thread(target=run) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        wait_until("the records to end", lambda: len([f for f in collector.find("FLOW") if "end" in f])
                   >= CONNECTIONS * 9 // 10, 30)
        self.assertLess(self.near.process.resident_kilobytes() - before, 40_000)
        self.assertEqual(collector.faults, [])

    def test_nothing_is_recorded_when_nobody_looks(self):
        """Without a collector a stream's head carries no record name, and the first flow afterwards is a new one."""
        self.service()
        for _ in range(50):
            exchange(self.port, b"unseen")
        collector = self.collect()
        self.observed(collector)
        time.sleep(2)
        self.assertLess(len(collector.find("FLOW")), 40)
        listener = self.one(collector, "LISTENER", name="front")
        self.assertGreaterEqual(listener["flow_count"], 50)


if __name__ == "__main__":
    unittest.main()
