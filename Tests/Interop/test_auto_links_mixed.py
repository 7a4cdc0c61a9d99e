"""`autoLink` between the products: each opens links towards the other, with messages, refusals and new attempts."""

import unittest

from skrouterd_case import BOTH_WAYS, MixedCase, needs_skrouterd, wait_until
from amqp_wire import AMQP_VALUE, FLOW, TRANSFER, Described, UInt, ULong, encode
from test_policy import Client


@needs_skrouterd
class AutoLinks(MixedCase):
    def front_and_back(self, front, back, **address):
        """The front router has a link of each direction on its connection to the back one."""
        near = self.make(front, "near", mode="standalone")
        far = self.make(back, "far", mode="standalone")
        if address:
            far.add("address", **address)
        near.add("connector", name="out", role="route-container", host="127.0.0.1", port=str(far.amqp_port),
                 saslMechanisms="ANONYMOUS")
        near.add("autoLink", name="there", address="there.near", externalAddress="there.far", connection="out",
                 direction="out")
        near.add("autoLink", name="back", address="back", containerId="far", direction="in")
        self.start_all(near, far)
        return near, far

    def await_status(self, router, status):
        def found():
            rows = self.rows(router, "router.config.autoLink", "name", "operStatus", "lastError", "linkRef")
            return len(rows) == 2 and {row["operStatus"] for row in rows} == {status} and rows
        return wait_until(f"both links to be {status}", found, 20)

    def send(self, sender, target, receiver, source):
        body = encode(Described(ULong(AMQP_VALUE), f"to {source}"))
        consumer = Client(receiver.amqp_port).begin()
        producer = Client(sender.amqp_port).begin()
        self.resources.callback(consumer.close)
        self.resources.callback(producer.close)
        consumer.receiver(source)
        consumer.send(FLOW, UInt(0), UInt(100), UInt(0), UInt(100), UInt(0), UInt(0), UInt(10))
        producer.sender(target)
        producer.expect(FLOW)
        producer.send(TRANSFER, UInt(0), UInt(0), b"t", UInt(0), True, False, payload=body)
        self.assertIn(body, consumer.next_of(TRANSFER)[2])

    def test_messages(self):
        for front, back in BOTH_WAYS:
            with self.part(front=front, back=back):
                near, far = self.front_and_back(front, back)
                rows = self.await_status(near, "active")
                self.assertTrue(all(row["linkRef"] for row in rows))
                self.send(near, "there.near", far, "there.far")
                self.send(far, "back", near, "back")
                metrics, = self.rows(near, "routerMetrics", "deliveriesEgressRouteContainer",
                                     "deliveriesIngressRouteContainer", "autoLinkCount")
                self.assertEqual(tuple(metrics.values()), (1, 1, 2))

    def test_refused_links_are_tried_again(self):
        for front, back in BOTH_WAYS:
            with self.part(front=front, back=back):
                near, far = self.front_and_back(
                    front, back, name="nothing", pattern="#", distribution="unavailable")
                rows = self.await_status(near, "failed")
                self.assertEqual({row["lastError"] for row in rows}, {"Node not found"})
                with self.management(far) as management:
                    management.delete("router.config.address", "nothing")
                self.await_status(near, "active")


if __name__ == "__main__":
    unittest.main()
