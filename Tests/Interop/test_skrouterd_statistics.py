"""What both products count of the same traffic: every number of `routerMetrics`, of /metrics and of an address."""

import operator
import unittest

from skrouterd_case import OURS, THEIRS, MixedCase, needs_skrouterd

from amqp_wire import (ACCEPTED, AMQP_VALUE, DISPOSITION, FLOW, TRANSFER, Described, UInt, ULong, encode)
from harness import Server, connect, echo, exchange, receive_exactly, wait_until
from telemetry_collector import Collector
from test_policy import Client

BODY = encode(Described(ULong(AMQP_VALUE), "text"))
COUNTED = ("deliveriesIngress", "deliveriesEgress", "deliveriesTransit", "acceptedDeliveries", "rejectedDeliveries",
           "releasedDeliveries", "modifiedDeliveries", "presettledDeliveries", "droppedPresettledDeliveries",
           "deliveriesDelayed1Sec", "deliveriesDelayed10Sec", "deliveriesStuck", "deliveriesIngressRouteContainer",
           "deliveriesEgressRouteContainer", "deliveriesRedirectedToFallback")
OUTCOMES = ("acceptedDeliveries", "presettledDeliveries", "droppedPresettledDeliveries")
STREAMS = 40
# The types that skrouterd writes are not those of the schema everywhere.
METRICS = ("id", "addrCount", "linkCount", "nodeCount", "autoLinkCount", "connectionCount", "linksBlocked",
           "uptimeSeconds", "residentMemoryUsage", "memoryUsage", "connectionCounters", "deliveriesIngressInterNetwork",
           "deliveriesEgressInterNetwork") + COUNTED


@needs_skrouterd
class Statistics(MixedCase):
    def network(self, product, mode="interior", handler=echo, **listener):
        """A client's router `near`, a server's router `far`, a service between them and a queue at the far one."""
        near, far = self.make(product, "near", mode=mode), self.make(product, "far")
        role = "edge" if mode == "edge" else "inter-router"
        near.connect_to(far.listen_for_routers(role=role), role=role)
        server = self.keep(Server(handler))
        self.port = near.tcp_listener("svc", name="front", **listener)
        far.tcp_connector("svc", server.port, name="back")
        for router in (near, far):
            router.add("address", prefix="mc", distribution="multicast")
        self.start_all(far)
        self.start_all(near)
        self.await_service(self.port, 30)
        return near, far

    def await_connections(self, router, count, protocol="tcp"):
        def present():
            # A client that waits in silence would be sent away.
            counters = self.rows(router, "routerMetrics", "connectionCounters")[0]["connectionCounters"]
            return counters[protocol] == count
        wait_until(f"{count} {protocol} connections at {router.name}", present, 15, 0.2)

    def added(self, routers, work):
        """What `work` adds to the numbers of each router, beyond what asking for them adds.

        Outcomes may come a little after the end of what they are about: the numbers count once they stand still."""
        clients = [self.management(router) for router in routers]

        def ask():
            return [tuple(row[name] for name in COUNTED) for row in (
                client.query("routerMetrics", *COUNTED)[0] for client in clients)]

        def difference(later, earlier):
            return [tuple(map(operator.sub, *pair)) for pair in zip(later, earlier)]

        def stand_still():
            """The numbers, how often they were asked for, and what each time adds."""
            rows = [ask()]

            def same():
                rows.append(ask())
                steps = [difference(*pair) for pair in zip(rows[-3:], rows[-4:-1])]
                return len(steps) == 3 and all(step == steps[0] for step in steps) and steps[0]
            step = wait_until("the numbers to stand still", same, 10, 0.1)
            return rows[-1], len(rows), step
        try:
            before, _, step = stand_still()
            work()
            after, asked, again = stand_still()
            self.assertEqual(step, again)
        finally:
            for client in clients:
                client.__exit__()
        return {router.name: {name: later - earlier - asked * own
                              for name, later, earlier, own in zip(COUNTED, after[at], before[at], step[at])}
                for at, router in enumerate(routers)}

    def compare(self, measure):
        """The same with each product, which has to come out the same."""
        seen = {}
        for product in (OURS, THEIRS):
            with self.part(product=product):
                seen[product] = measure(product)
        self.assertEqual(set(seen), {OURS, THEIRS})
        self.maxDiff = None
        for key in seen[THEIRS]:
            with self.subTest(what=key):
                self.assertEqual(seen[OURS][key], seen[THEIRS][key])
        return seen

    def streams(self, product, **network):
        near, far = self.network(product, **network)
        if not network:
            # Until they are there streams take the control connection, and count as transit.
            for router in (near, far):
                wait_until(f"data connections at {router.name}", lambda router=router: "inter-router-data" in [
                    row["role"] for row in self.rows(router, "connection", "role")], 20)

        def work():
            for _ in range(STREAMS):
                self.assertEqual(exchange(self.port, b"x" * 1000), b"x" * 1000)
        work()
        self.await_connections(near, 0)
        added = self.added([near, far], work)
        # Whether skrouterd counts a stream as presettled, accepted or both depends on which of its ends is first. It
        # tells the other router of finished streams in a few messages of its own, which count too.
        return {name: {key: round(value / STREAMS) for key, value in row.items() if key not in OUTCOMES}
                for name, row in added.items()} | {
                    "accepted and presettled are there": all(
                        row[OUTCOMES[0]] + row[OUTCOMES[1]] >= STREAMS for row in added.values())}

    def test_streams(self):
        seen = self.compare(self.streams)[OURS]
        self.assertEqual((seen["near"]["deliveriesIngress"], seen["near"]["deliveriesEgress"]), (2, 1))

    def test_streams_of_an_edge_router(self):
        self.compare(lambda product: self.streams(product, mode="edge"))

    def messages(self, near, far, settled, count=7):
        self.sent = 0
        consumer, producer = Client(far.amqp_port).begin(), Client(near.amqp_port).begin()
        try:
            consumer.receiver("queue")
            consumer.send(FLOW, UInt(0), UInt(1000), UInt(0), UInt(1000), UInt(0), UInt(0), UInt(1000))
            with self.management(near) as management:
                wait_until("the path", lambda: [row for row in management.query(
                    "router.address", "key", "remoteCount") if row["key"] == "Mqueue" and row["remoteCount"]], 15)
            producer.sender("queue")

            def work():
                for number in range(self.sent, self.sent + count):
                    producer.send(TRANSFER, UInt(0), UInt(number), b"%d" % number, UInt(0), settled, False,
                                  payload=BODY)
                self.sent += count
                for _ in range(count):
                    fields = consumer.expect(TRANSFER)
                    if not settled:
                        consumer.send(DISPOSITION, True, fields[1], None, True, Described(ULong(ACCEPTED), []))
                if not settled:
                    # One disposition may be about several.
                    left = count
                    while left:
                        fields = producer.expect(DISPOSITION)
                        left -= (fields[2] if len(fields) > 2 and fields[2] is not None else fields[1]) - fields[1] + 1
            return self.added([near, far], work)
        finally:
            consumer.close()
            producer.close()

    def test_messages(self):
        for settled in (True, False):
            def measure(product, settled=settled):
                return self.messages(*self.network(product), settled)
            seen = self.compare(measure)[OURS]["near"]
            self.assertEqual((seen["deliveriesIngress"], seen["deliveriesTransit"],
                              seen["presettledDeliveries" if settled else "acceptedDeliveries"]), (7, 7, 7))

    def test_connections_routers_and_an_address(self):
        def measure(product):
            near, far = self.network(product, observer="none")
            self.await_connections(near, 0)
            for _ in range(3):
                connection = self.keep(connect(self.port))
                connection.sendall(b"here")
                self.assertEqual(receive_exactly(connection, 4), b"here")
            self.await_connections(near, 3)
            with self.management(near) as management:
                row, = management.query("routerMetrics", *METRICS)
                entity, = management.query("router")
                address = next(row for row in management.query("router.address") if row["key"] == "Msvc")
                metrics = {name: value for name, value in near.metrics().items()
                           if "service_connections" in name or name == "qdr_routers_total"}
            return {
                "what is not there": {name for name in METRICS if row[name] is None},
                "routers": row["nodeCount"], "connections": row["connectionCount"], "blocked": row["linksBlocked"],
                "by protocol": dict(row["connectionCounters"]), "metrics": metrics,
                "on their way": (address["trackedDeliveries"], sum(address["transitOutstanding"])),
                # The schema has one more, which skrouterd never gives.
                "attributes of an address": set(address) - {"containerCount"},
                # Only ours says of itself what is wrong with it.
                "attributes of the router": set(entity) - {"problem"}}
        seen = self.compare(measure)[OURS]
        self.assertEqual((seen["routers"], seen["by protocol"]["amqp"], seen["by protocol"]["tcp"],
                          seen["on their way"]), (1, 1, 3, (3, 3)))

    def test_a_stream_that_lasts_is_not_delayed(self):
        def measure(product):
            near, far = self.network(product)
            connection = self.keep(connect(self.port))
            connection.sendall(b"here")
            self.assertEqual(receive_exactly(connection, 4), b"here")

            def uptime():
                return self.rows(near, "routerMetrics", "uptimeSeconds")[0]["uptimeSeconds"]
            before = uptime()
            wait_until("three seconds to pass", lambda: uptime() >= before + 3, 15, 0.2)
            connection.close()
            self.await_connections(near, 0)
            # That of the server's router takes a moment longer.
            self.await_connections(far, 1)
            return {router.name: self.rows(router, "routerMetrics", "deliveriesDelayed1Sec", "deliveriesDelayed10Sec",
                                           "deliveriesStuck") for router in (near, far)}
        self.assertEqual(set(self.compare(measure)[OURS]["near"][0].values()), {0})

    def test_connections_of_http(self):
        """Here they are told from others while somebody hears of them, there always."""
        def handler(connection):
            while connection.recv(1 << 16):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        def measure(product):
            near, _ = self.network(product, handler=handler)
            collector = self.keep(Collector(near.amqp_port))
            wait_until("beacons", lambda: len(collector.sources) == 2, 25)

            def request():
                connection = self.keep(connect(self.port))
                connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
                self.assertTrue(connection.recv(1 << 16).startswith(b"HTTP/1.1 200"))
                return connection

            def seen():
                request().close()
                return collector.find("FLOW")
            wait_until("flows to be on record", seen, 15, 0.5)
            self.await_connections(near, 0, "http1")
            held = [request() for _ in range(3)]
            self.await_connections(near, len(held), "http1")
            counters = self.rows(near, "routerMetrics", "connectionCounters")[0]["connectionCounters"]
            return {"http": [counters[name] for name in ("tcp", "http1", "http2")]}
        self.compare(measure)


if __name__ == "__main__":
    unittest.main()
