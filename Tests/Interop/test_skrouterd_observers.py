"""What observers tell of the same conversations, in skupper-router and in ours."""

import unittest

from skrouterd_case import OURS, THEIRS, needs_skrouterd

from harness import exchange, wait_until
from http_conversations import HTTP1, HTTP2, OTHER, ScriptedServer, talk
from telemetry_collector import Collector
from test_skrouterd_attributes import AttributeCase

PARTS = {**HTTP1, **HTTP2, **OTHER}


@needs_skrouterd
class Observers(AttributeCase):
    def service(self, near, far, observer="auto"):
        near, far = self.network(near, far)
        self.server = self.keep(ScriptedServer())
        port = near.tcp_listener("svc", name="front", observer=observer)
        far.tcp_connector("svc", self.server.port, name="back")
        self.start_all(far)
        self.start_all(near)
        self.await_service(port, 20)
        self.collector = self.keep(Collector(near.amqp_port))
        wait_until("both routers' beacons", lambda: len(self.collector.sources) == 2, 25)

        def complete():
            exchange(port, b"q" * 1000)
            return [flow for flow in self.collector.find("FLOW")
                    if {"parent", "end", "connector"} <= set(flow) and flow.get("octets") == 1000]
        wait_until("a flow told by both routers", complete, 30, 0.5)
        return port

    def told(self, address):
        """The requests of one connection, when it has ended: all attributes but names, and times as names."""
        def ended():
            flows = self.collector.find("FLOW", source_port=str(address[1]))
            return flows[0] if flows and "end" in flows[0] else None
        flow = wait_until(f"the end of the flow from {address}", ended, 20)

        def all_ended():
            found = self.collector.find("REQUEST", parent=flow["id"])
            return (found,) if all("end" in record for record in found) else None
        found, = wait_until("the requests' ends", all_ended, 20)
        found.sort(key=lambda record: int(record["id"].split(":")[1]))
        return [{name: value if name not in ("start", "end", "latency") else "a time"
                 for name, value in record.items() if name not in ("id", "parent")} for record in found]

    def all_told(self, port):
        addresses = {name: talk(port, self.server, steps) for name, (steps, _) in PARTS.items()}
        return {name: self.told(address) for name, address in addresses.items()}

    def test_both_products_tell_the_same(self):
        for observer in ("auto", "http1", "http2", "none"):
            seen = {}
            for product in (OURS, THEIRS):
                with self.part(observer=observer, product=product):
                    seen[product] = self.all_told(self.service(product, product, observer))
            for name in PARTS:
                with self.subTest(observer=observer, conversation=name):
                    self.assertEqual(seen[OURS][name], seen[THEIRS][name])
            if observer == "auto":
                self.assertEqual({name: len(records) for name, records in seen[OURS].items()},
                                 {name: len(expected) for name, (_, expected) in PARTS.items()})

    def test_listeners_of_either_product_before_the_other(self):
        for near, far in ((OURS, THEIRS), (THEIRS, OURS)):
            with self.part(listener=near, connector=far):
                told = self.all_told(self.service(near, far))
                for name, (_, expected) in PARTS.items():
                    with self.subTest(conversation=name):
                        self.assertEqual([record["result"] for record in told[name]],
                                         [record["result"] for record in expected])


if __name__ == "__main__":
    unittest.main()
