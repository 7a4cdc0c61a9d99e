"""Records what skrouterd says to another skrouterd and to Proton's client, for the unit tests to replay.

    record_connections.py FOLDER [NAME...]

Needs a skrouterd (on the PATH or in SKROUTERD) and Proton's Python client. Each NAME is a function below without its
`record_`; without names all are made. FOLDER is `Tests/Unit/AMQPCodecTests/Fixtures` when the files are to be renewed;
Tests/README.md says what else has to be looked at then.

skrouterd writes this machine's name into what it says, so run it where that is `vm`:

    unshare --uts sh -c 'hostname vm; exec python3 Tests/Interop/record_connections.py FOLDER'
"""

import contextlib
import pathlib
import shutil
import socket
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))

from proton import Delivery, Message, symbol, ulong  # noqa: E402
from proton.reactor import Container, LinkOption  # noqa: E402
from proton.utils import BlockingConnection, LinkDetached  # noqa: E402

from harness import Authority, Server, can_connect, echo, exchange, free_port, is_refused, wait_until  # noqa: E402
from recording_proxy import RecordingProxy, RecordingTunnel  # noqa: E402
from skrouterd_case import Skrouterd, SkrouterdManagement  # noqa: E402

# Performatives, by their descriptors.
TRANSFER, DETACH, CLOSE = 0x14, 0x16, 0x18
LARGEST = 64 << 10


class Stage:
    """Routers, proxies and clients of one recording; all end with it."""

    def __init__(self, folder, authority):
        self.authority = authority
        self._folder = folder
        self._ends = contextlib.ExitStack()
        self.clients = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ends.close()

    def router(self, name, authority=None, **attributes):
        router = Skrouterd(name, self._folder, authority, **{"dataConnectionCount": "0", **attributes})
        self._ends.callback(lambda: router.process and router.process.stop(20))
        return router

    def listen(self, router, role, **attributes):
        """A listener in clear text; gives its port."""
        port = free_port()
        router.add("listener", name=f"for-{role}", role=role, host="127.0.0.1", port=port,
                   **{"saslMechanisms": "ANONYMOUS", "authenticatePeer": False, **attributes})
        return port

    def dial(self, router, role, port, **attributes):
        router.add("connector", name=f"to-{role}", role=role, host="127.0.0.1", port=str(port), **attributes)

    def proxy(self, port, *identity):
        proxy = RecordingProxy(port, *identity)
        self._ends.callback(proxy.close)
        return proxy

    def keep(self, manager):
        return self._ends.enter_context(manager)

    def client(self, port, **options):
        container = Container()
        container.container_id = f"client-{len(self.clients) + 1}"
        client = BlockingConnection(f"amqp://127.0.0.1:{port}", timeout=20, container=container, **options)
        client.container.timeout = 0.001
        self.clients.append(client)
        return client

    def leave(self, client):
        self.clients.remove(client)
        client.close()

    def until(self, what, condition, seconds=20):
        """Works all clients until the condition holds."""
        def turn():
            for client in self.clients:
                client.container.timeout = 0.001
                client.container.process()
            return condition()
        return wait_until(what, turn, seconds, 0)

    def next(self, receiver):
        self.until("a message", lambda: receiver.fetcher.incoming)
        return receiver.fetcher.incoming.popleft()

    def answer(self, receiver, state):
        _, delivery = self.next(receiver)
        delivery.update(state)
        delivery.settle()

    def await_nodes(self, router, *names):
        def known():
            with SkrouterdManagement(router.amqp_port) as management:
                rows = management.query("router.node", "id", "cost")
            return {row["id"] for row in rows if row["cost"] is not None} - {router.name} == set(names)
        wait_until(f"{router.name} to know {names}", known, 30, 0.2)

    def await_consumers(self, router, address, count):
        def known():
            with SkrouterdManagement(router.amqp_port) as management:
                rows = management.query("router.address", "key", "subscriberCount", "remoteCount")
            return sum(row["subscriberCount"] + row["remoteCount"] for row in rows
                       if row["key"] == f"M{address}") == count
        self.until(f"{count} consumers of {address} at {router.name}", known, 30)


def said(recording, side, descriptor):
    """How many frames of this kind a side has sent."""
    return sum(frame[8:11] == bytes([0, 0x53, descriptor]) for who, frame in recording.frames() if who == side)


# --- recordings: each gives {name: recording} --------------------------------------------------------------------


def record_edge(stage):
    """An edge router's uplink: a service at the interior that goes and comes back, and one at the edge."""
    server = stage.keep(Server(echo))
    interior, edge = stage.router("A"), stage.router("E", mode="edge")
    proxy = stage.proxy(stage.listen(interior, "edge"))
    stage.dial(edge, "edge", proxy.port)
    up, down = edge.tcp_listener("up"), interior.tcp_listener("down")
    interior.tcp_connector("up", server.port)
    edge.tcp_connector("down", server.port)
    interior.start()
    edge.start()
    for port in (up, down):
        wait_until("the service", lambda: can_connect(port), 20)
    assert exchange(up, b"from the edge") == b"from the edge"
    assert exchange(down, b"to the edge") == b"to the edge"
    name = f"connector/up/{server.port}"
    with SkrouterdManagement(interior.amqp_port) as management:
        management.delete("tcpConnector", name)
        wait_until("the edge's listener to close", lambda: is_refused(up), 20)
        management.create("tcpConnector", name, host="127.0.0.1", port=str(server.port), address="up")
        wait_until("the edge's listener to open", lambda: can_connect(up), 20)
    edge.process.stop(20)
    return {"edge": proxy.connections[-1]}


def record_mesh(stage):
    """Two edge routers agree on the name of their mesh and pass a message on."""
    older, younger = stage.router("E", mode="edge"), stage.router("F", mode="edge")
    proxy = stage.proxy(stage.listen(older, "inter-edge"))
    stage.dial(younger, "inter-edge", proxy.port)
    older.start()
    younger.start()
    receiver = stage.client(older.amqp_port).create_receiver("mesh/there", credit=5, name="receiver")
    stage.await_consumers(younger, "mesh/there", 1)
    sender = stage.client(younger.amqp_port).create_sender("mesh/there")
    stage.until("credit", lambda: sender.link.credit > 0)
    delivery = sender.link.send(Message(body="through the mesh"))
    stage.answer(receiver, Delivery.ACCEPTED)
    stage.until("the outcome", lambda: delivery.settled)
    younger.process.stop(20)
    return {"mesh": proxy.connections[-1]}


def record_failover(stage):
    """A listener that names other places, with costs at both ends."""
    dialling, listening = stage.router("A"), stage.router("B")
    places = "amqp://b2.example:5672, amqps://b3.example:5671, b4.example"
    proxy = stage.proxy(stage.listen(listening, "inter-router", failoverUrls=places, cost=3))
    stage.dial(dialling, "inter-router", proxy.port, cost=2)
    listening.start()
    dialling.start()
    stage.await_nodes(dialling, "B")
    stage.await_nodes(listening, "A")
    dialling.process.stop(20)
    return {"failover": proxy.connections[-1]}


def record_upgrade(stage):
    """SASL EXTERNAL, and a second connection with the next TLS ordinal that takes over from the first."""
    dialling, listening = (stage.router(name, stage.authority) for name in ("A", "B"))
    port = listening.listen_for_routers(name="for-inter-router")
    proxy = stage.proxy(port, stage.authority, "A")
    dialling.connect_to(proxy.port, name="to-inter-router")
    listening.start()
    dialling.start()
    stage.await_nodes(dialling, "B")
    first = proxy.connections[-1]
    with SkrouterdManagement(dialling.amqp_port) as management:
        management.update("sslProfile", "mesh", ordinal=1)
        wait_until("the first to be given up", lambda: said(first, "connector", DETACH) >= 2, 20)
        second = proxy.connections[-1]
        management.update("sslProfile", "mesh", oldestValidOrdinal=1)
        wait_until("the first to be closed", lambda: said(first, "listener", CLOSE) > 0, 20)
    stage.await_nodes(dialling, "B")
    dialling.process.stop(20)
    return {"upgrade-1": first, "upgrade-2": second}


def record_drain(stage):
    """A receiver takes its credit back, and the router takes that of a sender whose only receiver has left."""
    router = stage.router("A").start()
    proxy = stage.proxy(router.amqp_port)
    client = stage.client(proxy.port)
    receiver = client.create_receiver("drain/x", credit=0, name="receiver")  # else it would give more by itself
    receiver.link.flow(10)
    sender = client.create_sender("drain/x", name="sender")
    for number in range(3):
        stage.until("credit", lambda: sender.link.credit > 0)
        sender.link.send(Message(body=number))
        stage.answer(receiver, Delivery.ACCEPTED)
    receiver.link.drain(0)
    stage.until("the drain", lambda: receiver.link.credit == 0 and not receiver.link.draining())
    receiver.close()
    delivery = sender.link.send(Message(body="nobody"))
    stage.until("its return", lambda: delivery.settled)
    stage.until("the credit to be taken back", lambda: sender.link.drained() > 0)
    stage.leave(client)
    return {"drain": proxy.connections[0]}


def record_multicast(stage):
    """Three receivers answer each message in their own way; the sender gets one outcome."""
    router = stage.router("A").add("address", name="multi", prefix="multi", distribution="multicast").start()
    proxy = stage.proxy(router.amqp_port)
    client = stage.client(proxy.port)
    receivers = [client.create_receiver("multi/x", credit=10, name=f"receiver-{number}") for number in range(3)]
    sender = client.create_sender("multi/x", name="sender")
    accepted, rejected, released, modified = (
        Delivery.ACCEPTED, Delivery.REJECTED, Delivery.RELEASED, Delivery.MODIFIED)
    for number, answers in enumerate([(accepted, accepted, accepted), (accepted, released, modified),
                                      (accepted, rejected, released), (released, released, modified),
                                      (released, released, released)]):
        stage.until("credit", lambda: sender.link.credit > 0)
        delivery = sender.link.send(Message(body=number))
        for receiver, answer in zip(receivers, answers):
            stage.answer(receiver, answer)
        stage.until("the outcome", lambda: delivery.settled)
        delivery.settle()
    stage.leave(client)
    return {"multicast": proxy.connections[0]}


def record_stream(stage):
    """Messages in several frames over two routers: whole, as a stream, as a stream that is aborted in the middle."""
    near, far = stage.router("A"), stage.router("B")
    size = {"maxFrameSize": 1024}
    between = stage.proxy(stage.listen(far, "inter-router", **size))
    stage.dial(near, "inter-router", between.port, **size)
    proxies = [stage.proxy(stage.listen(router, "normal", **size)) for router in (near, far)]
    far.start()
    near.start()
    stage.await_nodes(near, "B")
    receiver = stage.client(proxies[1].port, max_frame_size=1024).create_receiver(
        "stream/x", credit=10, name="receiver")
    stage.await_consumers(near, "stream/x", 1)
    client = stage.client(proxies[0].port, max_frame_size=1024)
    whole = client.create_sender("stream/x", name="whole")
    stage.until("credit", lambda: whole.link.credit > 0)
    delivery = whole.link.send(Message(body="w" * 4000))
    stage.answer(receiver, Delivery.ACCEPTED)
    stage.until("the outcome", lambda: delivery.settled)
    sender = client.create_sender("stream/x", name="stream", options=Streaming())
    stage.until("credit", lambda: sender.link.credit > 0)
    out = proxies[1].connections[0]

    def begin(octets):
        """The first part of a message, which reaches the receiver before there is more."""
        start = len(out.octets("listener"))
        delivery = sender.link.delivery(sender.link.delivery_tag())
        sender.link.stream(octets)
        stage.until("the beginning", lambda: len(out.octets("listener")) >= start + len(octets))
        return delivery

    text = Message(body="s" * 4000).encode()
    delivery = begin(text[:2500])
    sender.link.stream(text[2500:])
    sender.link.advance()
    stage.answer(receiver, Delivery.RELEASED)
    stage.until("the outcome", lambda: delivery.settled)
    delivery.settle()
    delivery = begin(text[:2500])
    frames = said(out, "listener", TRANSFER)
    delivery.abort()
    stage.until("the end", lambda: said(out, "listener", TRANSFER) > frames)
    for left in list(stage.clients):
        stage.leave(left)
    near.process.stop(20)
    return {"stream": between.connections[-1], "stream-sender": proxies[0].connections[0], "stream-receiver": out}


class Streaming(LinkOption):
    """A target whose messages go on before they are whole."""

    def apply(self, link):
        link.target.capabilities.put_object(symbol("qd.streaming-deliveries"))


def record_management(stage):
    """Requests to the agent: what is asked, made, read, deleted, and what is not there."""
    router = stage.router("A").start()
    proxy = stage.proxy(router.amqp_port)
    client = stage.client(proxy.port)
    # The names of the links that our own client gives them, so that it can take the client's place.
    receiver = client.create_receiver(None, dynamic=True, credit=10, name="client-1-replies")
    sender = client.create_sender("$management", name="client-1-requests")
    tcp = "io.skupper.router.tcpConnector"
    for number, (properties, body) in enumerate([
            ({"operation": "QUERY", "entityType": "io.skupper.router.router"}, {"attributeNames": ["id", "mode"]}),
            ({"operation": "CREATE", "type": tcp, "name": "made"},
             {"host": "127.0.0.1", "port": "9", "address": "made"}),
            ({"operation": "READ", "type": tcp, "name": "made"}, {}),
            ({"operation": "QUERY", "entityType": tcp}, {"attributeNames": ["name", "address", "port"]}),
            ({"operation": "DELETE", "type": tcp, "name": "made"}, {}),
            ({"operation": "READ", "type": tcp, "name": "made"}, {}),
            ({"operation": "GET-MGMT-NODES", "type": "org.amqp.management", "name": "self"}, {})], 1):
        sender.link.send(Message(
            properties=properties, body=body, correlation_id=ulong(number),
            reply_to=receiver.link.remote_source.address))
        stage.answer(receiver, Delivery.ACCEPTED)
    stage.leave(client)
    return {"management": proxy.connections[0]}


def record_refused(stage):
    """What has no place: a receiver at an address without service, and a message for it."""
    router = stage.router("A").add("address", name="none", prefix="none", distribution="unavailable").start()
    proxy = stage.proxy(router.amqp_port)
    client = stage.client(proxy.port)
    sender = client.create_sender(None, name="anonymous")
    stage.until("credit", lambda: sender.link.credit > 0)
    delivery = sender.link.send(Message(address="none/x"))
    stage.until("its return", lambda: delivery.settled)
    delivery.settle()
    with contextlib.suppress(LinkDetached):
        client.create_receiver("none/x", name="receiver")
    stage.leave(client)
    return {"refused": proxy.connections[0]}


def record_tunnel(stage, folder):
    """What a connector asks an HTTP proxy; no AMQP connection, so a file of its own."""
    tunnel = RecordingTunnel()
    router = stage.router("A")
    router.add("proxyProfile", name="proxy", host="127.0.0.1", port=str(tunnel.port))
    router.add("connector", name="out", role="inter-router", host="b.example", port="55671", proxyProfile="proxy")
    router.start()
    wait_until("the request", lambda: tunnel.request.endswith(b"\r\n\r\n"), 20)
    tunnel.close()
    (folder / "tunnel.request.bin").write_bytes(tunnel.request)
    print(f"tunnel: {len(tunnel.request)} octets")


ALL = {"edge": record_edge, "mesh": record_mesh, "failover": record_failover, "upgrade": record_upgrade,
       "drain": record_drain, "multicast": record_multicast, "stream": record_stream,
       "management": record_management, "refused": record_refused, "tunnel": record_tunnel}


def check(name, recording):
    """Nothing of this machine, nothing secret, nothing large."""
    octets = recording.octets("connector") + recording.octets("listener")
    host = socket.gethostname().encode()
    unwanted = [b"PRIVATE KEY", b"password", str(pathlib.Path.home()).encode(), tempfile.gettempdir().encode()]
    unwanted += [host] if host != b"vm" else []
    found = [word for word in unwanted if word in octets]
    assert not found, f"{name} holds {found}"
    assert len(octets) <= LARGEST, f"{name} has {len(octets)} octets"


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="skupper-test-"))
    try:
        authority = Authority(scratch / "ca")
        for what in sys.argv[2:] or ALL:
            with Stage(scratch / what, authority) as stage:
                if what == "tunnel":
                    record_tunnel(stage, folder)
                    continue
                for name, recording in ALL[what](stage).items():
                    check(name, recording)
                    print(f"{name}: {recording.write(folder, name)} octets", flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
