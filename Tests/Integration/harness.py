"""What the integration tests share: processes, certificates, ports, waits with deadlines.

Nothing here sleeps for a fixed time to let something happen: `wait_until` polls for a condition that can be
observed and says what it was waiting for when it gives up. Every process is ended by its own id.
"""

import collections
import contextlib
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SKUPPER_BIN", ROOT / ".build/release"))
# Sanitizer builds run several times slower; every deadline is multiplied by this.
SLOWNESS = float(os.environ.get("SKUPPER_TEST_SLOWNESS", "1"))
SANITIZED = SLOWNESS > 1
LARGE = os.environ.get("SKUPPER_TEST_LARGE") == "1"
SEED = int(os.environ.get("SKUPPER_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
RANDOM = random.Random(SEED)

# 2,000 connections need two descriptors each in this process (client and server) and two in each router.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(_soft, 65536), _hard), _hard))


class Unfinished(AssertionError):
    """A condition did not come true before its deadline."""


def wait_until(what, condition, seconds, every=0.02):
    """Calls `condition` until it gives something true, which is returned; an OSError counts as not yet."""
    deadline = time.monotonic() + seconds * SLOWNESS
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except OSError as error:
            last = error
        if time.monotonic() >= deadline:
            raise Unfinished(f"gave up after {seconds * SLOWNESS:g} s waiting for {what}; last seen: {last!r}")
        time.sleep(every)


def allow(seconds):
    """For a test that takes long by its nature: `run_suite.py` gives it so many seconds instead of the usual ones."""
    def mark(test):
        test.allowed_seconds = seconds
        return test
    return mark


# --- ports ------------------------------------------------------------------------------------------------------

_given_ports = set()
# Names that keep the latest of them from suites that run beside this one; those of tests that are over are given up, or
# a long run would use up its descriptors.
_claims = collections.deque()
CLAIMS = 300


def free_port(host="127.0.0.1"):
    """A port below the range the kernel gives to clients, that nothing has now and no running suite was ever given."""
    for _ in range(2000):
        port = RANDOM.randint(11000, 31000)
        if port in _given_ports:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0skupper-test-port-{port}")
        except OSError:
            claim.close()
            continue
        _given_ports.add(port)
        _claims.append(claim)
        if len(_claims) > CLAIMS:
            _claims.popleft().close()
        return port
    raise RuntimeError("no free port between 11000 and 31000")


def can_connect(port, host="127.0.0.1", timeout=2.0):
    with socket.create_connection((host, port), timeout=timeout):
        return True


def is_refused(port, host="127.0.0.1"):
    """True when nothing listens there; raises for any other failure."""
    try:
        with socket.create_connection((host, port), timeout=2.0):
            return False
    except ConnectionRefusedError:
        return True


# --- certificates -----------------------------------------------------------------------------------------------


def _openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr}")


class Authority:
    """A certificate authority in a folder, made with the openssl program, so not by the code under test."""

    def __init__(self, folder, name="test site CA"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificate = self.folder / "ca.crt"
        self.key = self.folder / "ca.key"
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out", self.certificate,
                 "-days", 30, "-subj", f"/CN={name}",
                 "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name, hosts=("127.0.0.1", "localhost"), days=30, subject=None):
        """A leaf for client and server use; returns its folder, with tls.crt, tls.key and ca.crt."""
        folder = self.folder / name
        if folder.exists():
            return folder
        folder.mkdir()
        names = [f"DNS:{host}" for host in hosts]
        names += [f"IP:{host}" for host in hosts if re.fullmatch(r"[0-9.]+", host)]
        extensions = folder / "extensions"
        extensions.write_text(
            f"subjectAltName={','.join(names)}\n"
            "extendedKeyUsage=serverAuth,clientAuth\nkeyUsage=digitalSignature,keyEncipherment\n")
        request = folder / "request"
        _openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "tls.key", "-out", request,
                 "-subj", subject or f"/CN={name}")
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                 "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", folder / "tls.crt")
        shutil.copy(self.certificate, folder / "ca.crt")
        return folder


def client_context(ca, identity=None):
    """A TLS client context that trusts `ca` (a file) and shows `identity` (a folder from `issue`)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(ca))
    if identity is not None:
        context.load_cert_chain(str(identity / "tls.crt"), str(identity / "tls.key"))
    return context


# --- processes --------------------------------------------------------------------------------------------------


class Process:
    """One child process with its output in a log file."""

    def __init__(self, arguments, log, environment=None):
        self.arguments = [str(argument) for argument in arguments]
        self.log_path = pathlib.Path(log)
        self._log = open(self.log_path, "ab")
        self.child = subprocess.Popen(
            self.arguments, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
            env={**os.environ, "SWIFT_BACKTRACE": "enable=no", **(environment or {})})

    @property
    def pid(self):
        return self.child.pid

    def is_alive(self):
        return self.child.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def log_since(self, mark):
        return self.log()[mark:]

    def log_tail(self, lines=40):
        return "\n".join(self.log().splitlines()[-lines:])

    def send(self, number):
        self.child.send_signal(number)

    def kill(self):
        """kill -9, and wait for the end."""
        if self.is_alive():
            self.child.kill()
        self.child.wait(timeout=10)
        self._log.close()

    def stop(self, seconds=10):
        """SIGTERM; returns the exit code. A process that does not stop is killed, and that is an error."""
        if self.is_alive():
            self.child.send_signal(signal.SIGCONT)
            self.child.terminate()
        try:
            code = self.child.wait(timeout=seconds * SLOWNESS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.arguments[0]} ignored SIGTERM for {seconds} s\n{self.log_tail()}")
        self._log.close()
        return code

    def resident_kilobytes(self):
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text()).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Router:
    """One skupper-router with a skrouterd.json made from the entities given to it."""

    def __init__(self, name, folder, authority=None, **router_attributes):
        self.name = name
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.authority = authority
        self.http_port = free_port()
        self.amqp_port = free_port()
        self.arguments = []
        self.process = None
        self.entities = [
            ["router", {"id": name, "mode": "interior", **router_attributes}],
            ["listener", {"name": "http", "role": "normal", "host": "127.0.0.1", "port": self.http_port,
                          "http": True, "httpRootDir": "disabled", "healthz": True, "metrics": True}],
            ["listener", {"name": "amqp", "role": "normal", "host": "127.0.0.1", "port": self.amqp_port}],
        ]
        if authority is not None:
            self.identity = authority.issue(name)
            self.add("sslProfile", name="mesh", certFile=str(self.identity / "tls.crt"),
                     privateKeyFile=str(self.identity / "tls.key"), caCertFile=str(self.identity / "ca.crt"))

    def add(self, kind, **attributes):
        self.entities.append([kind, attributes])
        return self

    def listen_for_routers(self, **attributes):
        port = free_port()
        self.add("listener", **{"name": f"inter-router-{port}", "role": "inter-router", "host": "127.0.0.1",
                                "port": port, "sslProfile": "mesh", "saslMechanisms": "EXTERNAL",
                                "authenticatePeer": True, "requireSsl": True, **attributes})
        return port

    def connect_to(self, port, **attributes):
        self.add("connector", **{"name": f"link-{port}", "role": "inter-router", "host": "127.0.0.1",
                                 "port": str(port), "sslProfile": "mesh", **attributes})
        return self

    def tcp_listener(self, address, port=None, **attributes):
        port = port or free_port()
        self.add("tcpListener", **{"name": f"listener/{address}/{port}", "host": "127.0.0.1", "port": str(port),
                                   "address": address, **attributes})
        return port

    def tcp_connector(self, address, port, **attributes):
        self.add("tcpConnector", **{"name": f"connector/{address}/{port}", "host": "127.0.0.1",
                                    "port": str(port), "address": address, **attributes})
        return self

    @property
    def config_path(self):
        return self.folder / "skrouterd.json"

    def start(self, wait=True):
        self.config_path.write_text(json.dumps(self.entities, indent=1))
        command = [BIN / "skupper-router", "-c", self.config_path, *self.arguments]
        self.process = Process(command, self.folder / "router.log")
        if wait:
            self.wait_healthy()
        return self

    def wait_healthy(self, seconds=10):
        def healthy():
            if not self.process.is_alive():
                raise AssertionError(
                    f"router {self.name} ended with code {self.process.child.returncode}:\n{self.process.log_tail()}")
            return self.get("/healthz")[0] == 200
        wait_until(f"router {self.name} to answer /healthz", healthy, seconds)

    def get(self, path, timeout=5.0):
        """(status, headers, text) of an HTTP GET on the router's HTTP listener."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode(errors="replace")

    def metrics(self):
        """Prometheus text as a dictionary; names with labels keep them."""
        values = {}
        for line in self.get("/metrics")[2].splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(None, 1)
                values[name] = float(value)
        return values

    def restart(self):
        return self.start()


def has_failed(test):
    """Whether a test or a part of it has failed so far; for use in its clean-up, where unittest does not say."""
    result = test._outcome.result if test._outcome else None
    return result is not None and any(case is test or getattr(case, "test_case", None) is test
                                      for case, _ in result.errors + result.failures)


class RouterCase(unittest.TestCase):
    """A test with a folder of its own that ends with no process left and every router's log shown on failure."""

    @classmethod
    def setUpClass(cls):
        cls.class_folder = pathlib.Path(tempfile.mkdtemp(prefix="skupper-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.class_folder, ignore_errors=True)

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skupper-test-"))
        self.routers = []
        self.resources = contextlib.ExitStack()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.addCleanup(self._end)

    def _end(self):
        problems = []
        try:
            self.resources.close()
        except Exception as error:  # noqa: BLE001 - everything else must be ended all the same
            problems.append(f"closing: {error!r}")
        for router in self.routers:
            if router.process is None:
                continue
            crashed = router.process.child.poll()
            try:
                code = router.process.stop()
            except AssertionError as error:
                problems.append(str(error))
                continue
            if crashed is not None and crashed != -signal.SIGKILL:
                problems.append(f"router {router.name} had ended by itself with code {crashed}")
            elif crashed is None and code != 0:
                problems.append(f"router {router.name} ended with code {code} on SIGTERM")
        if problems or has_failed(self):
            for router in self.routers:
                if router.process is not None:
                    print(f"--- log of router {router.name}\n{router.process.log_tail(60)}", flush=True)
        if problems:
            raise AssertionError("; ".join(problems))

    def router(self, name, authority=None, **attributes):
        router = Router(name, self.folder, authority, **attributes)
        self.routers.append(router)
        return router

    def keep(self, resource_manager):
        """Enters a context manager that ends with the test."""
        return self.resources.enter_context(resource_manager)

    def await_service(self, port, seconds=10):
        """Until a connection to a TCP listener is accepted: its service has been learnt through the network."""
        wait_until(f"the service on port {port} to be reachable", lambda: can_connect(port), seconds)


class MeshCase(RouterCase):
    """RouterCase with one certificate authority for the whole class."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.class_folder / "ca")

    def pair(self, dial_from_listener_side=True):
        """Two started routers with mutual TLS between them, `near` and `far`, and nothing else."""
        near = self.router("near", self.authority)
        far = self.router("far", self.authority)
        if dial_from_listener_side:
            near.connect_to(far.listen_for_routers())
        else:
            far.connect_to(near.listen_for_routers())
        return near, far


# --- servers and clients ----------------------------------------------------------------------------------------


class Server:
    """A TCP server on a free port of 127.0.0.1: one thread for each connection runs `handler(socket)`."""

    def __init__(self, handler, port=None, backlog=4096, host="127.0.0.1"):
        self.handler = handler
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = port or free_port()
        self.socket.bind((host, self.port))
        self.socket.listen(backlog)
        self.accepted = 0
        self.errors = []
        self._closing = False

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._closing = True
        # shutdown wakes the thread in accept; close alone would leave the port listening until it returns.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _accept(self):
        while not self._closing:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            connection.settimeout(60 * SLOWNESS)
            try:
                self.handler(connection)
            except Exception as error:  # noqa: BLE001 - the test looks at them
                self.errors.append(error)


def echo(connection):
    """Sends back what comes, then half-closes when the client has."""
    while True:
        data = connection.recv(1 << 18)
        if not data:
            break
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def receive_all(connection):
    """Everything up to the end of the stream; a reset is raised as ConnectionResetError."""
    parts = []
    while True:
        data = connection.recv(1 << 18)
        if not data:
            return b"".join(parts)
        parts.append(data)


def receive_exactly(connection, count):
    parts, missing = [], count
    while missing:
        data = connection.recv(min(missing, 1 << 18))
        if not data:
            raise AssertionError(f"stream ended {missing} octets before the {count} expected")
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


def reset(connection):
    """Closes with a TCP reset rather than an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()


def connect(port, timeout=30.0, host="127.0.0.1"):
    return socket.create_connection((host, port), timeout=timeout * SLOWNESS)


def exchange(port, data, timeout=30.0):
    """Sends `data` on a new connection, half-closes, and returns the whole answer."""
    with connect(port, timeout) as connection:
        sender = threading.Thread(target=_send_and_finish, args=(connection, data), daemon=True)
        sender.start()
        answer = receive_all(connection)
        sender.join(timeout * SLOWNESS)
        return answer


def _send_and_finish(connection, data):
    with contextlib.suppress(OSError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


class CountingProxy:
    """A TCP relay that counts the octets that cross it, can be cut, and can be silenced without a reset."""

    def __init__(self, target_port):
        self.target_port = target_port
        self.octets = 0
        self.cut_off = False
        self.silent = threading.Event()
        self._open = set()
        self._lock = threading.Lock()
        self._server = Server(self._relay)
        self.port = self._server.port

    def __enter__(self):
        self._server.__enter__()
        return self

    def __exit__(self, *_):
        self.silent.clear()
        self._server.__exit__()
        self.drop_connections()

    def crossed(self, source, sink, data):
        """Called with all that passes; `source` is the socket that it came from, `sink` the one it goes to."""
        self.octets += len(data)

    def cut(self):
        """Resets every connection and resets each new one at once, until `mend`."""
        self.cut_off = True
        self.drop_connections()

    def mend(self):
        self.cut_off = False

    def drop_connections(self):
        with self._lock:
            doomed = list(self._open)
        for connection in doomed:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                connection.shutdown(socket.SHUT_RDWR)

    def _relay(self, client):
        if self.cut_off:
            return reset(client)
        client.settimeout(None)
        with socket.create_connection(("127.0.0.1", self.target_port), timeout=10) as target:
            target.settimeout(None)
            with self._lock:
                self._open |= {client, target}
            back = threading.Thread(target=self._pump, args=(target, client), daemon=True)
            back.start()
            self._pump(client, target)
            back.join()
            with self._lock:
                self._open -= {client, target}
            for end in (client, target):
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    def _pump(self, source, sink):
        try:
            while True:
                data = source.recv(1 << 17)
                while self.silent.is_set():
                    time.sleep(0.05)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                self.crossed(source, sink, data)
                sink.sendall(data)
        except OSError:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
