"""LOG records of both products: the same lines asked for, attributes compared, and each heard through the other."""

import unittest

from skrouterd_case import BOTH_WAYS, OURS, THEIRS, MixedCase, needs_skrouterd

from amqp_wire import ManagementError
from harness import wait_until
from telemetry_collector import Collector
from test_log_records import LEVELS, LogHook, await_heard

# What differs from line to line, or is the product's own.
OWN = {"id", "parent", "start", "end", "text", "source_file", "source_line"}


@needs_skrouterd
class LogRecords(MixedCase):
    def start(self, *routers):
        for router in routers:
            router.add("address", prefix="mc", distribution="multicast")
            router.arguments += ["-T"]
        self.start_all()

    def collect(self, router, count=1):
        collector = self.keep(Collector(router.amqp_port))
        wait_until(f"beacons of {count}", lambda: len(collector.sources) == count, 25)
        return collector

    def await_lines(self, collector, module, count, **wanted):
        def found():
            lines = [line for line in collector.find("LOG", **wanted) if line["text"].startswith(f"LOG_{module}: ")]
            return lines if len(lines) == count else None
        return wait_until(f"{count} lines of {module}; there are {collector.find('LOG')}", found, 15)

    def test_the_same_lines_have_the_same_attributes(self):
        seen = {}
        for product in (OURS, THEIRS):
            with self.part(product=product):
                router = self.make(product, "alone")
                self.start(router)
                collector = self.collect(router)
                source, = collector.sources
                with self.management(router) as management:
                    await_heard(management, collector, source)
                    with LogHook(router.amqp_port) as hook:
                        hook.write(*LEVELS)
                        lines = self.await_lines(collector, "ROUTER", 3)
                    with self.assertRaises(ManagementError):
                        management.read("tcpConnector", "which-is-not-there")
                    failures = self.await_lines(collector, "AGENT", 1)
                for line in lines + failures:
                    self.assertEqual((line["parent"], line["start"]), (source, line["end"]))
                    self.assertTrue(line["source_file"] and line["source_line"] > 0, line)
                    self.assertEqual(line["id"].split(":")[0], source.split(":")[0])
                self.assertEqual(collector.faults, [])
                seen[product] = sorted(
                    [(set(line), {name: value for name, value in line.items() if name not in OWN})
                     for line in lines + failures], key=lambda line: line[1]["severity"])
        self.assertEqual(seen[OURS], seen[THEIRS])

    def test_what_was_said_before_a_collector_came_is_told_by_neither(self):
        for product in (OURS, THEIRS):
            with self.part(product=product):
                router = self.make(product, "alone")
                self.start(router)
                with LogHook(router.amqp_port) as hook, self.management(router) as management:
                    hook.write("WARNING")

                    def uptime():
                        return management.query("routerMetrics", "uptimeSeconds")[0]["uptimeSeconds"]
                    before = uptime()
                    # Both forget within two seconds and a half.
                    wait_until("time to pass", lambda: uptime() >= before + 4, 20, 0.2)
                    collector = self.collect(router)
                    await_heard(management, collector, *collector.sources)
                    hook.write("CRITICAL")
                    self.assertEqual(self.await_lines(collector, "ROUTER", 1)[0]["severity"], 4)

    def test_each_is_heard_through_the_other(self):
        for near, far in BOTH_WAYS:
            with self.part(writer=near, collector=far):
                near, far = self.make(near, "near"), self.make(far, "far")
                near.connect_to(far.listen_for_routers())
                self.start(near, far)
                collector = self.collect(far, 2)
                source = wait_until("the record of near", lambda: collector.find("ROUTER", name="0/near"), 25)[0]["id"]
                with self.management(near) as management:
                    await_heard(management, collector, source, "remoteCount")
                with LogHook(near.amqp_port) as hook:
                    hook.write(*LEVELS)
                    lines = self.await_lines(collector, "ROUTER", 3, parent=source)
                self.assertEqual(sorted(line["severity"] for line in lines), [2, 3, 4])


if __name__ == "__main__":
    unittest.main()
