"""A proxy that writes down what two AMQP peers say to each other, in the form that the unit tests replay.

Over TLS it is server to the one and client to the other, so that what stands in the files is clear text.
"""

import pathlib
import select
import socket
import ssl
import threading

from harness import client_context, free_port


class Recording:
    """One connection: (side, octets) in the order in which they came by."""

    def __init__(self):
        self.runs = []
        self._lock = threading.Lock()

    def add(self, side, octets):
        with self._lock:
            if self.runs and self.runs[-1][0] == side:
                self.runs[-1][1].extend(octets)
            else:
                self.runs.append((side, bytearray(octets)))

    def octets(self, side):
        with self._lock:
            return b"".join(bytes(octets) for who, octets in self.runs if who == side)

    def frames(self):
        """(side, frame or protocol header), each where its last octet came by."""
        with self._lock:
            runs = [(side, bytes(octets)) for side, octets in self.runs]
        waiting = {"connector": b"", "listener": b""}
        for side, octets in runs:
            waiting[side] += octets
            while len(waiting[side]) >= 8:
                size = 8 if waiting[side].startswith(b"AMQP") else int.from_bytes(waiting[side][:4], "big")
                if len(waiting[side]) < size:
                    break
                yield side, waiting[side][:size]
                waiting[side] = waiting[side][size:]

    def write(self, folder, name):
        """The files of the recording; what did not come whole is left out. Gives the number of octets."""
        streams, order = {"connector": b"", "listener": b""}, []
        for side, frame in self.frames():
            streams[side] += frame
            if order and order[-1][0] == side:
                order[-1][1] += len(frame)
            else:
                order.append([side, len(frame)])
        folder = pathlib.Path(folder)
        for side, octets in streams.items():
            (folder / f"{name}.{side}.bin").write_bytes(octets)
        (folder / f"{name}.order.txt").write_text("".join(f"{side} {count}\n" for side, count in order))
        return sum(map(len, streams.values()))


class RecordingProxy:
    """Stands before a port of this machine. With `authority` both of its sides speak TLS: to the peer that dials as
    the server `proxy`, to the other with the certificate that was issued to `client`."""

    def __init__(self, target, authority=None, client=None):
        self.target = target
        self.connections = []
        self._server = self._client = None
        if authority is not None:
            identity = authority.issue("proxy")
            self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._server.load_cert_chain(str(identity / "tls.crt"), str(identity / "tls.key"))
            self._server.load_verify_locations(str(authority.certificate))
            self._server.verify_mode = ssl.CERT_REQUIRED
            self._client = client_context(authority.certificate, authority.issue(client))
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            recording = Recording()
            self.connections.append(recording)
            threading.Thread(target=self._carry, args=(near, recording), daemon=True).start()

    def _carry(self, near, recording):
        far = None
        try:
            far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            if self._server is not None:
                far = self._client.wrap_socket(far, server_hostname="127.0.0.1")
                near = self._server.wrap_socket(near, server_side=True)
            near.setblocking(False)
            far.setblocking(False)
            while self._pass(near, far, "connector", recording) and self._pass(far, near, "listener", recording):
                select.select([near, far], [], [], 1)
        except OSError:
            pass  # The end of one is the end of the other; a router that dials too early dials again.
        finally:
            for end in (near, far):
                if end is not None:
                    end.close()

    def _pass(self, source, sink, side, recording):
        """Everything that `source` has; false at its end."""
        while True:
            try:
                octets = source.recv(1 << 16)
            except (BlockingIOError, ssl.SSLWantReadError):
                return True
            if not octets:
                return False
            recording.add(side, octets)
            self._send(sink, octets)

    def _send(self, sink, octets):
        rest = memoryview(octets)
        while rest:
            try:
                rest = rest[sink.send(rest):]
            except (BlockingIOError, ssl.SSLWantWriteError):
                select.select([], [sink], [], 1)


class RecordingTunnel:
    """An HTTP proxy for one connection that writes down what it is asked, and then carries octets."""

    def __init__(self, answer=b"HTTP/1.1 200 Connection established\r\n\r\n"):
        self.request = b""
        self.port = free_port()
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._listener.close()

    def _serve(self):
        near, _ = self._listener.accept()
        with near:
            while b"\r\n\r\n" not in self.request:
                octets = near.recv(4096)
                if not octets:
                    return
                self.request += octets
            near.sendall(self._answer)
            near.recv(8)  # The protocol header behind it: the answer was understood.
