"""A front of an API server that sees every request and misbehaves on demand: TLS and HTTP/1.1 to its clients.

    proxy.on(write("connectors"), answer(409, "Conflict"), times=3)      the next three are refused
    proxy.on(event(), cut())                                             one watch breaks in the middle of an object
    proxy.requests(lambda r: r.is_write)                                 what was asked

A rule is asked about each request before it goes on (`stage` "request") and about each event of a watch before it is
given to the client ("event"). The first rule that fits acts; without one everything passes as it is.
"""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Request:
    """One request, with the status that the client was given (0: the connection was closed instead)."""

    def __init__(self, method, target, body, user=""):
        parts = urllib.parse.urlsplit(target)
        self.method, self.target, self.path, self.body = method, target, parts.path, body
        self.query = dict(urllib.parse.parse_qsl(parts.query))
        # The name that the token of a SiteCluster's account ends with, for example "west:skupper-router".
        self.user = user.removeprefix("Bearer token-of-system:serviceaccount:")
        self.begun = time.monotonic()
        self.ended = None
        self.status = 0
        self.stage = "request"
        self.fault = ""

    @property
    def is_watch(self):
        return self.query.get("watch") == "true"

    @property
    def is_lease(self):
        return "/leases" in self.path

    @property
    def is_write(self):
        """Lease renewals are counted apart: a leader has to write them."""
        return self.method != "GET" and not self.is_lease

    def __repr__(self):
        return f"{self.method} {self.target} {self.status}"


# --- which requests ---------------------------------------------------------------------------------------------


def write(part=""):
    return lambda r: r.stage == "request" and r.is_write and part in r.path


def read(part=""):
    return lambda r: r.stage == "request" and r.method == "GET" and not r.is_watch and part in r.path


def watch(part=""):
    return lambda r: r.stage == "request" and r.is_watch and part in r.path


def event(part=""):
    return lambda r: r.stage == "event" and part in r.path


# --- what happens to them ---------------------------------------------------------------------------------------


def status_object(code, reason, message):
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
            "message": message or f"the test says {reason}"}


def answer(code, reason, message="", retry_after=None):
    """The server answers with a Status and does nothing else."""
    def act(exchange):
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        exchange.respond(code, json.dumps(status_object(code, reason, message)).encode(), headers)
    act.text = f"answer {code}"
    return act


def lose():
    """The request is carried out and its answer is lost."""
    def act(exchange):
        exchange.forward()
        exchange.hang_up()
    act.text = "lose the answer"
    return act


def refuse():
    """The connection closes before the request reaches the server."""
    def act(exchange):
        exchange.hang_up()
    act.text = "hang up"
    return act


def delay(seconds):
    """The request waits, then goes on."""
    def act(exchange):
        exchange.proxy.ended.wait(seconds)
        exchange.pass_on()
    act.text = f"delay {seconds} s"
    return act


def cut():
    """Half of the answer, or of the event, and then the end of the connection."""
    def act(exchange):
        if exchange.request.stage == "event":
            exchange.send_chunk(exchange.line[:len(exchange.line) // 2])
        else:
            code, headers, body = exchange.forward()
            exchange.respond(code, body, headers, send=len(body) // 2)
        exchange.hang_up()
    act.text = "cut in the middle"
    return act


def expire():
    """A watch is told that its version is too old: as an event when it has begun, else as the answer."""
    def act(exchange):
        text = json.dumps(status_object(410, "Expired", "too old resource version"))
        if exchange.request.stage == "event":
            exchange.send_chunk(f'{{"type":"ERROR","object":{text}}}\n'.encode())
            exchange.send_chunk(b"")
            exchange.hang_up()
        else:
            exchange.respond(410, text.encode())
    act.text = "expire"
    return act


class HungUp(Exception):
    """The connection to the client was ended on purpose."""


class Exchange:
    """One request on its way to the server and back."""

    def __init__(self, handler, request):
        self.handler, self.request, self.proxy = handler, request, handler.server.proxy
        self.line = b""

    def forward(self):
        """Sends the request to the server; gives status, headers and body."""
        response = self._send()
        body = response.read()
        return response.status, self._kept(response), body

    def _send(self):
        handler = self.handler
        headers = {k: v for k, v in handler.headers.items() if k.lower() not in ("host", "connection", "expect")}
        for attempt in (1, 2):
            if handler.upstream is None:
                handler.upstream = self.proxy.connect()
            try:
                handler.upstream.request(self.request.method, self.request.target, self.request.body, headers)
                return handler.upstream.getresponse()
            except (OSError, http.client.HTTPException):
                handler.upstream.close()
                handler.upstream = None
                # A kept connection may have died meanwhile; whatever else it is, the client has to see it.
                if attempt == 2 or self.request.method != "GET":
                    self.hang_up()

    @staticmethod
    def _kept(response):
        return {k: v for k, v in response.getheaders() if k.lower() in ("content-type", "retry-after", "warning")}

    def pass_on(self):
        if self.request.is_watch:
            return self._stream()
        code, headers, body = self.forward()
        self.respond(code, body, headers)

    def respond(self, code, body, headers=None, send=None):
        handler = self.handler
        self.request.status = code
        handler.send_response(code)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body if send is None else body[:send])
        handler.wfile.flush()

    def send_chunk(self, data):
        self.handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.handler.wfile.flush()

    def _stream(self):
        response = self._send()
        self.request.status = response.status
        if response.status != 200:
            return self.respond(response.status, response.read(), self._kept(response))
        handler = self.handler
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.flush()
        self.request.stage = "event"
        while True:
            try:
                self.line = response.readline()
            except (OSError, http.client.HTTPException):
                self.hang_up()
            if not self.line:
                break
            act = self.proxy.rule(self.request)
            act(self) if act else self.send_chunk(self.line)
        self.send_chunk(b"")

    def hang_up(self):
        self.handler.close_connection = True
        with contextlib.suppress(OSError):
            self.handler.connection.shutdown(socket.SHUT_RDWR)
        raise HungUp()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body of an answer are two writes: without this the second waits 40 ms for an acknowledgement.
    disable_nagle_algorithm = True
    timeout = 900

    def setup(self):
        self.upstream = None
        self.plain = self.request
        self.request = self.server.proxy.context.wrap_socket(self.request, server_side=True)
        self.server.proxy.connections.add(self.request)
        super().setup()

    def finish(self):
        with contextlib.suppress(OSError):
            super().finish()
        self.server.proxy.connections.discard(self.request)
        if self.upstream is not None:
            self.upstream.close()
        # What wrap_socket made is ours to close; the server closes the one it took from.
        with contextlib.suppress(OSError):
            self.request.close()

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        request = Request(self.command, self.path, body, self.headers.get("Authorization", ""))
        proxy = self.server.proxy
        with proxy.lock:
            proxy.seen.append(request)
        exchange = Exchange(self, request)
        try:
            if proxy.pause:
                proxy.ended.wait(proxy.pause)
            act = proxy.rule(request)
            act(exchange) if act else exchange.pass_on()
        except (HungUp, OSError):
            self.close_connection = True
        finally:
            request.ended = time.monotonic()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """Clients that go away, and handshakes that fail, are what this is for."""


class FaultProxy:
    """Serves on a free port of `host` in front of a Cluster until `stop`."""

    def __init__(self, cluster, host="127.0.0.1"):
        self.cluster = cluster
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(str(cluster.serving / "tls.crt"), str(cluster.serving / "tls.key"))
        self.trust = ssl.create_default_context(cafile=str(cluster.authority.certificate))
        self.lock = threading.Lock()
        self.rules = []
        self.seen = []
        self.connections = set()
        self.ended = threading.Event()
        # Seconds that every answer takes longer.
        self.pause = 0
        self.server = Server((host, 0), Handler)
        self.server.proxy = self
        self.url = f"https://{host}:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def connect(self):
        return http.client.HTTPSConnection(self.cluster.host, self.cluster.port, timeout=900, context=self.trust)

    def on(self, matches, act, times=1):
        """Adds a rule; gives a list of the requests that it acted on."""
        hits = []
        with self.lock:
            self.rules.append([matches, act, times, hits])
        return hits

    def clear(self):
        with self.lock:
            self.rules = []
        self.pause = 0

    def rule(self, request):
        with self.lock:
            for rule in self.rules:
                matches, act, times, hits = rule
                if times > 0 and matches(request):
                    rule[2] -= 1
                    request.fault = getattr(act, "text", "")
                    hits.append(request)
                    return act
        return None

    def requests(self, matches=lambda _: True, since=0.0):
        with self.lock:
            return [r for r in self.seen if r.begun >= since and matches(r)]

    def drop_connections(self):
        """Ends every connection at once, whatever goes on."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def stop(self):
        self.ended.set()
        self.server.shutdown()
        self.drop_connections()
        self.server.server_close()
