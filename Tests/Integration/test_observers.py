"""Requests on the connections of TCP listeners, as observers see them and collectors are told."""

import time
import unittest

from amqp_wire import ManagementClient
from harness import SANITIZED, MeshCase, client_context, connect, exchange, receive_exactly, wait_until
from http_conversations import HTTP1, HTTP2, OTHER, Conversation, ScriptedServer, talk
from telemetry_collector import Collector
from test_tls_services import TLSCase, TLSEnd, TLSServer, server_context

REQUESTS = 1000 if SANITIZED else 6000
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class ObserverCase(MeshCase):
    def service(self, **listener):
        self.server = self.keep(ScriptedServer())
        self.near, self.far = self.pair()
        for router in (self.near, self.far):
            router.add("address", prefix="mc", distribution="multicast")
        self.port = self.near.tcp_listener("svc", name="front", **listener)
        self.far.tcp_connector("svc", self.server.port, name="back")
        self.near.start()
        self.far.start()
        self.await_service(self.port)

    def collect(self):
        self.collector = self.keep(Collector(self.near.amqp_port))
        wait_until("both routers' beacons", lambda: len(self.collector.sources) == 2, 15)

        def seen():
            exchange(self.port, b"probe")
            return self.collector.find("FLOW")
        wait_until("flows to be recorded", seen, 15, every=0.5)

    def flow(self, address):
        return wait_until(f"the flow from {address}",
                          lambda: self.collector.find("FLOW", source_port=str(address[1])), 10)[0]

    def requests(self, address, count, ended=True, seconds=10):
        """The records of one connection's requests, in the order of their beginnings."""
        flow = self.flow(address)

        def told():
            found = self.collector.find("REQUEST", parent=flow["id"])
            return (found,) if len([record for record in found if "end" in record or not ended]) >= count else None
        found, = wait_until(f"{count} requests of {flow}", told, seconds)
        self.assertEqual(len(found), count, found)
        return sorted(found, key=lambda record: int(record["id"].split(":")[1]))

    def expect(self, address, expected):
        flow = self.flow(address)
        found = self.requests(address, len(expected))
        for record, wanted in zip(found, expected):
            told = {name: value for name, value in record.items()
                    if name not in ("id", "parent", "start", "end", "latency")}
            self.assertEqual(told, wanted)
            self.assertTrue(flow["start"] <= record["start"] <= record["end"], (flow, record))
            self.assertTrue(0 < record["latency"] <= record["end"] - record["start"] + 1, record)


class Requests(ObserverCase):
    def test_conversations_of_both_protocols(self):
        self.service()
        self.collect()
        talks = []
        for name, (steps, expected) in {**HTTP1, **HTTP2, **OTHER}.items():
            talks.append((name, talk(self.port, self.server, steps), expected))
        for name, address, expected in talks:
            with self.subTest(conversation=name):
                self.expect(address, expected)
        self.assertEqual(self.collector.faults, [])
        # The listener's router tells of them, and nobody else.
        source = self.collector.find("ROUTER", name="0/near")[0]["id"].split(":")[0]
        self.assertEqual({record["id"].split(":")[0] for record in self.collector.find("REQUEST")}, {source})

    def test_an_octet_at_a_time(self):
        self.service()
        self.collect()
        steps, expected = HTTP1["one after the other"]
        pieces = [(side, data[at:at + 1]) for side, data in steps for at in range(len(data))]
        self.expect(talk(self.port, self.server, pieces), expected)

    def test_a_long_response_is_told_while_it_comes(self):
        self.service()
        self.collect()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        steps = [(True, GET), (False, head + b"x" * 50_000)]
        with Conversation(self.port, self.server, steps) as conversation:
            conversation.run()
            record = self.requests(conversation.address, 1, ended=False)[0]
            self.assertNotIn("end", record)
            self.assertEqual((record["octets_reverse"], record["result"]), (50_000, "200"))
        # The client goes away: the request ends as it is.
        record = self.requests(conversation.address, 1)[0]
        self.assertEqual(record["octets_reverse"], 50_000)

    def test_connections_are_counted_by_protocol(self):
        self.service()

        def are(*wanted):
            """Both the metrics and the row say so."""
            names = ("tcp", "http1", "http2")
            metrics = self.near.metrics()
            with ManagementClient(self.near.amqp_port) as management:
                row = management.query("routerMetrics")[0]["connectionCounters"]
            told = [tuple(int(metrics[f"qdr_{name}_service_connections"]) for name in names),
                    tuple(row[name] for name in names)]
            return told == [wanted, wanted]
        steps = [(True, GET), (False, ANSWER)]
        with Conversation(self.port, self.server, steps) as unseen:
            # Nobody looks as long as no collector listens.
            unseen.run()
            wait_until("one connection to be counted", lambda: are(1, 0, 0), 10)
            self.collect()
            wait_until("the first to be alone again", lambda: are(1, 0, 0), 10)
            with Conversation(self.port, self.server, steps) as one:
                one.run()
                wait_until("HTTP/1 to be counted", lambda: are(1, 1, 0), 10)
                with Conversation(self.port, self.server, HTTP2["requests beside each other"][0]) as two:
                    two.run()
                    wait_until("HTTP/2 to be counted", lambda: are(1, 1, 1), 10)
        wait_until("none to be left", lambda: are(0, 0, 0), 10)

    def test_latency_is_the_servers(self):
        self.service()
        self.collect()
        steps = [(True, GET), (False, b"")]
        with Conversation(self.port, self.server, steps + [(True, b"."), (False, ANSWER)]) as conversation:
            conversation.socket.sendall(GET)
            time.sleep(0.3)  # the time that is measured
            conversation.socket.sendall(b".")
            self.assertEqual(receive_exactly(conversation.socket, len(ANSWER)), ANSWER)
            record = self.requests(conversation.address, 1)[0]
        self.assertTrue(300_000 <= record["latency"] < 5_000_000, record)

    def test_nothing_without_a_collector(self):
        self.service()
        steps, _ = HTTP1["one after the other"]
        for _ in range(20):
            talk(self.port, self.server, steps)
        self.collect()
        self.collector.await_heartbeats()
        self.assertEqual(self.collector.find("REQUEST"), [])

    def test_many_requests_stay_within_rate_and_memory(self):
        self.service()
        self.collect()
        before = self.near.process.resident_kilobytes()
        with Conversation(self.port, self.server, [(True, GET), (False, ANSWER)] * REQUESTS) as conversation:
            conversation.run()
            flow = self.flow(conversation.address)
            # What is beyond the records at a time is not told; those told have all ended.
            wait_until("records", lambda: len(self.collector.find("REQUEST", parent=flow["id"]))
                       >= min(REQUESTS, 5000) * 9 // 10, 30)
        found = self.collector.find("REQUEST", parent=flow["id"])
        self.assertTrue(all("end" in record for record in found))
        self.assertLess(self.near.process.resident_kilobytes() - before, 40_000)
        # There is room again.
        self.expect(talk(self.port, self.server, HTTP1["one after the other"][0]), HTTP1["one after the other"][1])
        self.assertEqual(self.collector.faults, [])


class Choice(ObserverCase):
    def test_none_and_changes_for_new_connections(self):
        self.service(observer="none")
        self.collect()
        one, two = HTTP1["all at once"], HTTP2["trailers"]
        self.expect(talk(self.port, self.server, one[0]), [])
        count = 0
        with ManagementClient(self.near.amqp_port) as management:
            for observer, first, second in (("http1", one[1], []), ("http2", [], two[1]), ("none", [], []),
                                            ("auto", one[1], two[1])):
                with self.subTest(observer=observer):
                    management.update("tcpListener", "front", observer=observer)
                    addresses = [talk(self.port, self.server, steps) for steps, _ in (one, two)]
                    # Flows are told when they have ended, after their requests.
                    for address in addresses:
                        wait_until("the flow's end", lambda: "end" in self.flow(address), 15)
                    self.expect(addresses[0], first)
                    self.expect(addresses[1], second)
                    count += len(first) + len(second)
        self.collector.await_heartbeats()
        self.assertEqual(len(self.collector.find("REQUEST")), count)

    def test_many_streams_that_are_no_http_pass_unchanged(self):
        self.service(observer="http1")
        self.collect()
        for size in (1, 100, 70_000, 2_000_000):
            data = bytes(range(256)) * (size // 256 + 1)
            self.assertEqual(exchange(self.port, data), data)


class ObservedTLS(TLSCase, ObserverCase):
    def test_clear_text_is_seen_where_the_router_ends_tls(self):
        self.server = self.keep(ScriptedServer())
        self.near, self.far = self.pair()
        for router in (self.near, self.far):
            router.add("address", prefix="mc", distribution="multicast")
        self.profile(self.near)
        secure = self.near.tcp_listener("svc", name="secure", sslProfile="web")
        self.port = self.near.tcp_listener("svc", name="front")
        through = self.near.tcp_listener("web", name="through")
        self.far.tcp_connector("svc", self.server.port)

        def answer(end):
            end.receive()
            end.send(ANSWER)
        web = self.keep(TLSServer(answer, server_context(self.web)))
        self.far.tcp_connector("web", web.port, name="web")
        self.near.start()
        self.far.start()
        for port in (secure, self.port, through):
            self.await_service(port)
        self.collect()
        context = client_context(self.public.certificate)

        def wrap(connection):
            return TLSEnd(connection, context, name="localhost").handshake()
        for conversations in (HTTP1, HTTP2):
            for name, (steps, expected) in conversations.items():
                with self.subTest(conversation=name):
                    self.expect(talk(secure, self.server, steps, wrap), expected)
        with connect(through) as connection:
            address = connection.getsockname()
            end = wrap(connection)
            end.send(GET)
            self.assertEqual(end.receive(), ANSWER)
        wait_until("the flow's end", lambda: "end" in self.flow(address), 15)
        self.expect(address, [])


if __name__ == "__main__":
    unittest.main()
