"""Messages in the log: whose, which parts of them, and are bodies, streams, long and nasty values kept out."""

import re
import struct
import unittest

from amqp_wire import (AMQP_VALUE, APPLICATION_PROPERTIES, ATTACH, BEGIN, DISPOSITION, FLOW, PROPERTIES, TRANSFER,
                       Described, ManagementClient, Peer, Symbol, UByte, UInt, ULong, encode)
from harness import MeshCase, Server, connect, echo, exchange, free_port, wait_until

SECRET = "the-body-is-nobodys-business"
WINDOW = UInt(1 << 20)
LINE = re.compile(r"^\S+ \S+ \S+ MESSAGE \(debug\) \[C(\d+)\] (.*)$", re.M)
LINK = re.compile(r" on link '[^']*' \((.*?)\)$")


def message(*properties, application=None, body=SECRET):
    """A message whose properties begin with these."""
    sections = [Described(ULong(PROPERTIES), list(properties))]
    if application is not None:
        sections.append(Described(ULong(APPLICATION_PROPERTIES), application))
    return b"".join(encode(section) for section in [*sections, Described(ULong(AMQP_VALUE), body)])


class LogCase(MeshCase):
    def listener(self, router, name, **attributes):
        port = free_port()
        router.add("listener", name=name, host="127.0.0.1", port=port, **attributes)
        return port

    def client(self, port, name):
        peer = Peer(self.keep(connect(port)), container=name).handshake()
        peer.send(BEGIN, None, UInt(0), WINDOW, WINDOW)
        peer.expect(BEGIN)
        peer.sent = 0
        return peer

    def consumer(self, port, address, name="consumer"):
        peer = self.client(port, name)
        peer.send(ATTACH, name, UInt(0), True, UByte(2), UByte(0), Described(ULong(0x28), [address]),
                  Described(ULong(0x29), []))
        peer.expect(ATTACH)
        peer.send(FLOW, UInt(0), WINDOW, UInt(0), WINDOW, UInt(0), UInt(0), UInt(100))
        return peer

    def producer(self, port, address, name="producer"):
        """`address` None = anonymous."""
        peer = self.client(port, name)
        peer.send(ATTACH, name, UInt(0), False, UByte(2), UByte(0), Described(ULong(0x28), []),
                  Described(ULong(0x29), [address]), None, None, UInt(0))
        peer.expect(FLOW)
        return peer

    def pass_on(self, producer, consumer, octets, piece=16_000):
        """Sends a message, in frames of `piece` octets, and takes it."""
        for at in range(0, len(octets), piece):
            producer.send(TRANSFER, UInt(0), UInt(producer.sent), struct.pack(">I", producer.sent), UInt(0), False,
                          at + piece < len(octets), payload=octets[at:at + piece])
        producer.sent += 1
        got = b""
        while True:
            _, fields, payload = consumer.next_of(TRANSFER)
            got += payload
            if len(fields) < 6 or not fields[5]:
                break
        self.assertEqual(got[-len(octets):], octets)
        consumer.send(DISPOSITION, True, UInt(fields[1]), None, True, Described(ULong(0x24), []))
        producer.expect(DISPOSITION)

    def texts(self, router, words=""):
        """What was written of messages, without the names of links."""
        return [LINK.sub(r" (\1)", text) for _, text in LINE.findall(router.process.log()) if words in text]


class Parts(LogCase):
    def setUp(self):
        super().setUp()
        self.hub = self.router("hub")
        self.hub.add("log", module="MESSAGE", enable="debug+")
        self.every = self.listener(self.hub, "every", messageLoggingComponents="all")
        self.some = self.listener(self.hub, "some", messageLoggingComponents="app-properties,subject")
        self.none = self.listener(self.hub, "none", messageLoggingComponents="none")

    def test_each_connection_shows_what_its_listener_says(self):
        self.hub.start()
        sent = message("m1", b"me\xff", None, "hello", application={"k": [1, True, Symbol("s")]})
        text = 'subject="hello", app-properties={"k"=[1, true, :"s"]}}'
        long_text = 'Message{message-id="m1", user-id=b"me\\ff", ' + text
        for source, sink, expected in (
                (self.every, self.some, [f"Received {long_text} ( -> a)", f"Sent Message{{{text} (a -> )"]),
                (self.some, self.every, [f"Received Message{{{text} ( -> a)", f"Sent {long_text} (a -> )"]),
                (self.every, self.none, [f"Received {long_text} ( -> a)"]),
                (self.hub.amqp_port, self.some, [f"Sent Message{{{text} (a -> )"]),
                (self.none, self.hub.amqp_port, [])):
            before = len(self.texts(self.hub))
            consumer = self.consumer(sink, "a")
            producer = self.producer(source, "a")
            self.pass_on(producer, consumer, sent)
            self.assertEqual(self.texts(self.hub)[before:], expected)
            consumer.close()
            producer.close()
            self.await_idle()
        # One without application properties, and one that tells its own address.
        consumer, producer = self.consumer(self.some, "b"), self.producer(self.every, None)
        self.pass_on(producer, consumer, message(None, None, "b"))
        self.assertEqual(self.texts(self.hub)[-2:], ['Received Message{to="b"} ( -> )', "Sent Message{} (b -> )"])
        self.assertNotIn(SECRET, self.hub.process.log())
        self.assertNotIn("has no effect", self.hub.process.log())

    def await_idle(self):
        with ManagementClient(self.hub.amqp_port) as management:
            wait_until("the clients to be gone",
                       lambda: {row["container"] for row in management.query("connection")} == {"management-client"},
                       10)

    def test_the_level_is_followed_live(self):
        self.hub.entities = [entity for entity in self.hub.entities if entity[0] != "log"]
        self.hub.start()
        consumer, producer = self.consumer(self.every, "a"), self.producer(self.every, "a")
        management = self.keep(ManagementClient(self.hub.amqp_port))
        self.pass_on(producer, consumer, message("m0"))
        management.update("log", "log/MESSAGE", enable="debug+")
        self.pass_on(producer, consumer, message("m1"))
        management.update("log", "log/MESSAGE", enable="info+")
        self.pass_on(producer, consumer, message("m2"))
        self.assertEqual(self.texts(self.hub),
                         ['Received Message{message-id="m1"} ( -> a)', 'Sent Message{message-id="m1"} (a -> )'])

    def test_long_and_nasty_ones_make_one_short_line_each(self):
        self.hub.start()
        # Of the container too, which stands in a line of another module.
        name = "link\n2026-01-01 FORGED\r\x1b[2J" + "n" * 900
        address = "address-" + "a" * 900
        consumer = self.consumer(self.every, address, name)
        producer = self.producer(self.every, address, name)
        entries = {f"key-{number}\n2026-01-01 FORGED": "\x1b[2J" + "v" * 900 for number in range(30)}
        octets = message("m\r\n2026-01-01 FORGED", None, None, "s" * 5000, application=entries, body=SECRET * 20_000)
        self.pass_on(producer, consumer, octets)
        # In frames of few octets, the head over many of them.
        self.pass_on(producer, consumer, message("m2", application=entries), piece=700)
        log = self.hub.process.log()
        self.assertEqual(re.findall(r"(Received|Sent) Message\{message-id=\"(m2?)", log),
                         [("Received", "m"), ("Sent", "m"), ("Received", "m2"), ("Sent", "m2")])
        lines = [line for line in log.splitlines() if " MESSAGE (debug) " in line]
        self.assertEqual(len(lines), 4)
        self.assertLess(max(len(line.encode()) for line in lines), 1900)
        self.assertNotIn("\x1b", log)
        self.assertFalse([line for line in log.split("\n") if line.startswith("2026-01-01 FORGED")])
        self.assertNotIn(SECRET[:8], log)

    def test_words_that_are_no_parts_are_said_and_passed_over(self):
        self.listener(self.hub, "strange", messageLoggingComponents="subject, to,Body")
        self.hub.start()
        words = "listener 'strange': messageLoggingComponents: ' to,Body' is no part of a message"
        self.assertIn(words, self.hub.process.log())
        self.assertEqual(self.hub.process.log().count("is no part of a message"), 1)
        with ManagementClient(self.hub.amqp_port) as management:
            self.assertEqual(management.read("listener", "strange")["messageLoggingComponents"], "subject, to,Body")
            management.create("connector", "odd", host="127.0.0.1", port=str(free_port()),
                              messageLoggingComponents="x\ny")
        self.assertIn("connector 'odd': messageLoggingComponents: 'x\\0ay' is no part", self.hub.process.log())


class Routers(LogCase):
    def test_of_a_link_routing_messages_and_others_but_no_streams(self):
        near, far = self.router("near", self.authority), self.router("far", self.authority)
        near.connect_to(far.listen_for_routers(messageLoggingComponents="to,subject,app-properties"),
                        messageLoggingComponents="subject,content-type")
        server = self.keep(Server(echo))
        far.tcp_connector("service", server.port)
        service = near.tcp_listener("service")
        for router in (far, near):
            router.add("log", module="MESSAGE", enable="debug+")
            router.start()
        self.await_service(service)
        body = SECRET.encode() * 10_000
        self.assertEqual(exchange(service, body), body)
        consumer, producer = self.consumer(far.amqp_port, "a"), self.producer(near.amqp_port, "a")
        self.pass_on(producer, consumer, message("m", None, "x", "over the link", application={"k": 1}))
        self.assertEqual(self.texts(near, "over the link"), ['Sent Message{subject="over the link"} ( -> )'])
        self.assertEqual(self.texts(far, "over the link"),
                         ['Received Message{to="x", subject="over the link", app-properties={"k"=1}} ( -> )'])
        for way in ("Received", "Sent"):
            self.assertIn(f'{way} Message{{to="amqp:/_local/qdhello", app-properties={{"opcode"="HELLO"}}}} ( -> )',
                          self.texts(far))
        for router in (near, far):
            self.assertNotIn("octet-stream", router.process.log())
            self.assertNotIn(SECRET[:8], router.process.log())


if __name__ == "__main__":
    unittest.main()
