"""What collectors are told of the log: warnings and worse, once, within a rate, and never because of themselves."""

import re
import time
import unittest

from amqp_wire import (AMQP_VALUE, APPLICATION_PROPERTIES, ATTACH, BEGIN, FLOW, PROPERTIES, TRANSFER, Described,
                       ManagementClient, ManagementError, Peer, Symbol, UByte, UInt, ULong, encode)
from harness import SANITIZED, MeshCase, connect, wait_until
from telemetry_collector import WINDOW, Collector

ADDRESS = "io.skupper.router.router/test/log"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# Lines that the log keeps for collectors between two times at which it tells them: in a second.
KEPT = 500
FLOOD = 1500 if SANITIZED else 4000
SECRET = "correct-horse-battery"


def properties(*fields):
    return encode(Described(ULong(PROPERTIES), list(fields)))


class Sender:
    """Sends settled messages to one address as credit comes."""

    def __init__(self, peer, address, handle=0):
        self.peer, self.handle, self.number = peer, handle, 0
        peer.send(ATTACH, f"to-{address}", UInt(handle), False, UByte(1), UByte(0),
                  Described(ULong(0x28), []), Described(ULong(0x29), [address]), None, None, UInt(0))
        self.limit = 0
        self._await_credit()

    def _await_credit(self):
        while self.limit <= self.number:
            fields = self.peer.expect(FLOW)
            if len(fields) > 6 and fields[4] == self.handle and fields[6] is not None:
                self.limit = (fields[5] or 0) + fields[6]

    def send(self, message):
        self._await_credit()
        self.peer.send(TRANSFER, UInt(self.handle), UInt(self.number), self.number.to_bytes(4, "big"), UInt(0), True,
                       False, payload=message)
        self.number += 1


class LogHook:
    """A client that has lines written to the log of a router that was started with -T."""

    def __init__(self, port):
        self.peer = Peer(connect(port), container="log-hook").handshake()
        self.peer.send(BEGIN, None, UInt(0), WINDOW, WINDOW)
        self.peer.expect(BEGIN)
        self.sender = Sender(self.peer, ADDRESS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.peer.close()

    def write(self, *levels):
        for level in levels:
            self.sender.send(properties(None, None, ADDRESS, level) + encode(Described(ULong(AMQP_VALUE), None)))


def await_heard(client, collector, source, field="subscriberCount"):
    """Until the router knows that somebody receives the log records of a source: lines count from now on."""
    key = f"M{collector.sources[source]['address']}.logs"
    wait_until(f"a consumer of {key}", lambda: [
        row for row in client.query("router.address", "key", field) if row["key"] == key and row[field]], 20)


class LogCase(MeshCase):
    def start(self, name="alone", **attributes):
        router = self.router(name, **attributes)
        router.add("address", prefix="mc", distribution="multicast")
        router.arguments += ["-T"]
        return router.start()

    def collect(self, router, count=1):
        collector = self.keep(Collector(router.amqp_port))
        wait_until(f"beacons of {count}", lambda: len(collector.sources) == count, 25)
        return collector

    def heard(self, router, field="subscriberCount"):
        """A collector at the only router; what is written from now on is told."""
        collector = self.collect(router)
        source, = collector.sources
        with ManagementClient(router.amqp_port) as management:
            await_heard(management, collector, source, field)
        return collector, source

    def hook(self, router):
        return self.keep(LogHook(router.amqp_port))

    def severities(self, collector, **wanted):
        return sorted(record["severity"] for record in collector.find("LOG", **wanted))

    def await_severities(self, collector, expected, **wanted):
        wait_until(f"records of severity {expected}", lambda: self.severities(collector, **wanted) == expected, 10)


class Lines(LogCase):
    def test_warnings_and_worse_are_told_with_their_place_and_time(self):
        router = self.start()
        collector, source = self.heard(router)
        self.hook(router).write(*LEVELS)
        self.await_severities(collector, [2, 3, 4])
        names = set()
        for record in collector.find("LOG"):
            self.assertEqual(set(record), {"id", "parent", "start", "end", "severity", "text", "source_file",
                                           "source_line"})
            self.assertEqual((record["parent"], record["start"]), (source, record["end"]))
            self.assertLess(abs(record["start"] - time.time() * 1e6), 60e6)
            self.assertEqual(record["text"], "LOG_ROUTER: a line that a test asked for")
            self.assertRegex(record["source_file"], r"\.swift$")
            self.assertGreater(record["source_line"], 0)
            self.assertEqual(record["id"].split(":")[0], source.split(":")[0])
            names.add(record["id"])
        self.assertEqual(len(names), 3)
        self.assertEqual(collector.faults, [])
        # The log itself has the others too, down to the level that it writes.
        written = re.findall(r"ROUTER \((\w+)\) a line that a test asked for", router.process.log())
        self.assertEqual(written, ["info", "warning", "error", "critical"])

    def test_what_a_module_does_not_write_is_not_told(self):
        router = self.router("alone")
        router.add("log", module="ROUTER", enable="debug,error+")
        router.add("address", prefix="mc", distribution="multicast")
        router.arguments += ["-T"]
        router.start()
        collector, _ = self.heard(router)
        self.hook(router).write(*LEVELS)
        self.await_severities(collector, [3, 4])

    def test_what_was_said_before_a_collector_came_is_forgotten(self):
        router = self.start()
        hook = self.hook(router)
        hook.write("WARNING")
        with ManagementClient(router.amqp_port) as management:
            def uptime():
                return management.query("routerMetrics", "uptimeSeconds")[0]["uptimeSeconds"]
            before = uptime()
            wait_until("the time at which collectors are told", lambda: uptime() >= before + 3, 20, 0.2)
        collector, _ = self.heard(router)
        hook.write("CRITICAL")
        self.await_severities(collector, [4])

    def test_without_the_option_there_is_no_such_address(self):
        router = self.router("alone").start()
        with ManagementClient(router.amqp_port) as management:
            self.assertNotIn("M" + ADDRESS, [row["key"] for row in management.query("router.address", "key")])


class Networks(LogCase):
    def test_a_collector_elsewhere_is_told(self):
        near, far = self.pair()
        for router in (near, far):
            router.add("address", prefix="mc", distribution="multicast")
            router.arguments += ["-T"]
            router.start()
        collector = self.collect(far, 2)
        source = wait_until("the record of near", lambda: collector.find("ROUTER", name="0/near"), 15)[0]["id"]
        with ManagementClient(near.amqp_port) as management:
            await_heard(management, collector, source, "remoteCount")
        self.hook(near).write(*LEVELS)
        self.await_severities(collector, [2, 3, 4], parent=source)

    def test_edge_and_interior(self):
        interior, edge = self.router("interior", self.authority), self.router("edge", self.authority, mode="edge")
        edge.connect_to(interior.listen_for_routers(role="edge"), role="edge")
        for router in (interior, edge):
            router.add("address", prefix="mc", distribution="multicast")
            router.arguments += ["-T"]
            router.start()
        for at in (interior, edge):
            with self.subTest(collector=at.name):
                collector = self.collect(at, 2)
                for router in (interior, edge):
                    source = wait_until("its record", lambda router=router: collector.find(
                        "ROUTER", name=f"0/{router.name}"), 20)[0]["id"]
                    hook = self.hook(router)

                    # How the two tell each other of consumers cannot be seen from outside; the first line that is
                    # told says that it is done.
                    def told(hook=hook, source=source, collector=collector):
                        hook.write("ERROR")
                        return collector.find("LOG", parent=source)
                    wait_until(f"a line of {router.name}", told, 20, 0.5)
                collector.__exit__()


class Bounds(LogCase):
    def test_a_flood_is_told_in_part_and_the_rest_counted(self):
        router = self.start()
        collector, _ = self.heard(router)
        hook = self.hook(router)
        before = router.process.resident_kilobytes()
        hook.write(*["WARNING"] * FLOOD)
        lost = re.compile(r"LOG_FLOW_LOG: (\d+) lines were not told to collectors")

        def sums():
            texts = [record["text"] for record in collector.find("LOG")]
            counts = [int(match[1]) for match in map(lost.match, texts) if match]
            return sum(text.endswith("a test asked for") for text in texts), sum(counts)
        wait_until("every line to be told or counted", lambda: sum(sums()) == FLOOD, 30)
        missing = sums()[1]
        if not SANITIZED:
            self.assertGreater(missing, 0, "the flood was too slow to exceed the rate")
        if missing:
            self.assertIn(f"more than {KEPT} in a second", router.process.log())
        self.assertLessEqual(max(collector.sizes), 50_000)
        self.assertLess(router.process.resident_kilobytes() - before, 30_000)
        self.assertEqual(collector.faults, [])
        seconds = {}
        for record in collector.find("LOG"):
            seconds[record["start"] // 1_000_000] = seconds.get(record["start"] // 1_000_000, 0) + 1
        # A second of the clock can have a part of two tellings.
        self.assertLessEqual(max(seconds.values()), 2 * (KEPT + 1))

    def test_what_is_lost_on_the_way_to_a_client_causes_no_record(self):
        """Else a collector that does not read would be the cause of records that it does not read."""
        router = self.start()
        collector, _ = self.heard(router)
        peer = Peer(self.keep(connect(router.amqp_port)), container="deaf").handshake()
        peer.send(BEGIN, None, UInt(0), WINDOW, WINDOW)
        peer.expect(BEGIN)
        source = Described(ULong(0x28), [None, UInt(0), Symbol("session-end"), UInt(0), True])
        peer.send(ATTACH, "replies", UInt(0), True, UByte(1), UByte(0), source, Described(ULong(0x29), []))
        reply_to = peer.expect(ATTACH)[5].value[0]
        sender = Sender(peer, "$management", handle=1)
        request = (properties(None, None, "$management", None, reply_to, ULong(1))
                   + encode(Described(ULong(APPLICATION_PROPERTIES), {"operation": "GET-MGMT-NODES"}))
                   + encode(Described(ULong(AMQP_VALUE), {})))
        for _ in range(1100):
            sender.send(request)
        wait_until("replies to be dropped", lambda: "undelivered messages" in router.process.log(), 20)
        self.hook(router).write("CRITICAL")
        self.await_severities(collector, [4], text="LOG_ROUTER: a line that a test asked for")
        collector.await_heartbeats()
        self.assertEqual([record for record in collector.find("LOG") if "undelivered" in record["text"]], [])


class Secrets(LogCase):
    def test_a_failed_request_is_told_without_the_password_in_it(self):
        router = self.start()
        collector, _ = self.heard(router)
        with ManagementClient(router.amqp_port) as management:
            for attributes in ({"password": SECRET, "certFile": "/does/not/exist", "ordinal": "no number"},
                               {"password": f"pass:{SECRET}", "privateKeyFile": "/does/not/exist", "pasword": SECRET}):
                with self.assertRaises(ManagementError):
                    management.create("sslProfile", "secret", **attributes)
        wait_until("both failures", lambda: len(self.severities(collector)) >= 2, 10)
        for record in collector.find("LOG"):
            self.assertRegex(record["text"], "^LOG_AGENT: CREATE failed with")
            self.assertNotIn(SECRET, record["text"])


if __name__ == "__main__":
    unittest.main()
