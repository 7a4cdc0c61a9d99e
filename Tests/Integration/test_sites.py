"""Two sites on this host through the skupper program: the linking procedure, its limits, failure and return."""

import base64
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from harness import (BIN, SLOWNESS, Authority, Server, client_context, connect, echo, exchange, free_port, has_failed,
                     receive_exactly, wait_until)
from test_tls_services import TLSEnd, TLSServer, server_context, tls_echo


def processes_of(home):
    """{pid: program name} of every process of ours whose command line or environment names the data home."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            program = os.readlink(entry / "exe")
            if not os.path.basename(program).startswith("skupper"):
                continue
            words = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(home).encode() in words:
            found[int(entry.name)] = os.path.basename(program)
    return found


class Host:
    """A data home of its own, and the skupper program used on it. Nothing leaves the loopback interface."""

    LINK_ACCESS = ["--enable-link-access", "--bind-host", "127.0.0.1", "--advertise-host", "127.0.0.1"]

    def __init__(self):
        self.home = self._folder()
        self.files = self._folder()
        self.environment = {**os.environ, "SKUPPER_PLATFORM": "linux", "SKUPPER_OUTPUT_PATH": str(self.home),
                            "PATH": f"{BIN}:{os.environ['PATH']}", "SWIFT_BACKTRACE": "enable=no"}
        self.namespaces = []

    @staticmethod
    def _folder():
        """A folder without the underscore that tempfile likes and that `token issue` refuses in a file name."""
        while "_" in (path := tempfile.mkdtemp(prefix="skupper-test-")):
            os.rmdir(path)
        return pathlib.Path(path)

    def run(self, *arguments, seconds=30):
        """(exit code, output) of one command."""
        done = subprocess.run([BIN / "skupper", *map(str, arguments)], env=self.environment, cwd=self.files,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=seconds * SLOWNESS)
        return done.returncode, done.stdout

    def good(self, *arguments, seconds=30):
        code, text = self.run(*arguments, seconds=seconds)
        if code != 0:
            raise AssertionError(f"skupper {' '.join(map(str, arguments))} gave {code}:\n{text}")
        return text

    def start_site(self, name, link_access=False):
        self.good("site", "create", name, "-n", name, *(self.LINK_ACCESS if link_access else []))
        self.namespaces.append(name)
        self.good("system", "start", "-n", name, seconds=75)
        self.await_site(name)

    def await_site(self, name):
        wait_until(f"site {name} to be Ready",
                   lambda: re.search(r"\bReady\b", self.run("site", "status", "-n", name)[1]), 15, every=0.1)

    def token(self, name="token.yaml", *options, site="west"):
        path = self.files / name
        self.good("token", "issue", path, "-n", site, *options)
        return path

    def links(self, site):
        """One (name, status, cost, message) for each row of `link status`."""
        rows = []
        for line in self.good("link", "status", "-n", site).splitlines():
            match = re.match(r"(\S+)\s+(Ready|Pending|Error)\s+(\d+)\s+(.*\S)\s*$", line)
            if match:
                rows.append(match.groups())
        return rows

    def await_link(self, site, seconds=5):
        return wait_until(f"a link of site {site} to be Ready 1 OK",
                          lambda: [row for row in self.links(site) if row[1] == "Ready" and row[3] == "OK"], seconds,
                          every=0.05)

    def router_pid(self, site):
        def find():
            for pid, program in processes_of(self.home / "namespaces" / site).items():
                if program == "skupper-router":
                    return pid
        return wait_until(f"the router process of site {site}", find, 10)

    def controller_pids(self):
        return [pid for pid, program in processes_of(self.home).items() if program == "skupper-controller"]

    def logs(self):
        parts = []
        for path in sorted(self.home.rglob("*.log")):
            parts.append(f"--- {path.relative_to(self.home)}\n" +
                         "\n".join(path.read_text(errors="replace").splitlines()[-40:]))
        return "\n".join(parts)

    def remove(self):
        """Uninstalls everything; returns what was left running, which is killed."""
        for name in self.namespaces:
            self.run("system", "uninstall", "--force", "-n", name)
        left = {}
        try:
            wait_until("every process of the data home to end", lambda: not processes_of(self.home), 15)
        except AssertionError:
            left = processes_of(self.home)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        remains = list((self.home / "namespaces").iterdir()) if (self.home / "namespaces").exists() else []
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.files, ignore_errors=True)
        return left, [path.name for path in remains]


class SiteCase(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.addCleanup(self._end)

    def _end(self):
        if has_failed(self):
            print(self.host.logs(), flush=True)
        left, remains = self.host.remove()
        self.assertEqual((left, remains), ({}, []), "processes and namespaces left after uninstall")

    def two_sites(self, linked=True):
        self.host.start_site("west", link_access=True)
        self.host.start_site("east")
        if linked:
            self.host.good("token", "redeem", self.host.token(), "-n", "east")
            self.host.await_link("east")

    def service(self):
        """An echo server in west; returns the port on which east listens for it."""
        self.server = Server(echo)
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)
        port = free_port()
        self.host.good("connector", "create", "backend", self.server.port, "--host", "127.0.0.1", "-n", "west")
        self.host.good("listener", "create", "backend", port, "--host", "127.0.0.1", "-n", "east")
        self.await_echo(port, 10)
        return port

    def await_echo(self, port, seconds=5):
        wait_until(f"an answer through port {port}", lambda: exchange(port, b"hello", timeout=3) == b"hello", seconds,
                   every=0.05)


class Procedure(SiteCase):
    def test_token_link_and_service(self):
        self.two_sites(linked=False)
        host = self.host
        self.assertEqual(host.links("east"), [])
        path = host.token()
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        text = path.read_text()
        for word in ("kind: AccessToken", "url: https://", "code: ", "BEGIN CERTIFICATE"):
            self.assertIn(word, text)
        host.good("token", "redeem", path, "-n", "east")
        redeemed = time.monotonic()
        rows = host.await_link("east", 5)
        print(f"  Ready {time.monotonic() - redeemed:.2f} s after token redeem", flush=True)
        self.assertEqual(len(rows), 1)
        self.assertRegex(rows[0][0], r"^west-[0-9a-f-]{36}$")
        self.assertEqual(rows[0][1:], ("Ready", "1", "OK"))
        listing = host.good("link", "status", "-n", "east")
        self.assertRegex(listing, r"^NAME\s+STATUS\s+COST\s+MESSAGE\n")
        single = host.good("link", "status", rows[0][0], "-n", "east")
        self.assertRegex(single, r"Status\s*: Ready")
        port = self.service()
        data = os.urandom(3_000_000)
        self.assertEqual(exchange(port, data), data)
        for noun, site in (("listener", "east"), ("connector", "west")):
            wait_until(f"the {noun} to be Ready",
                       lambda n=noun, s=site: re.search(r"backend\s+Ready", host.good(n, "status", "-n", s)),
                       5, every=0.1)
        host.good("listener", "delete", "backend", "-n", "east")
        wait_until("the listener to be closed", lambda: self._refused(port), 5)
        host.good("link", "delete", rows[0][0], "-n", "east")
        wait_until("the link to be gone", lambda: host.links("east") == [], 5)

    def _refused(self, port):
        try:
            connect(port, timeout=2).close()
            return False
        except ConnectionRefusedError:
            return True

    def test_listener_on_the_accepting_side_works_too(self):
        self.two_sites()
        server = Server(echo)
        server.__enter__()
        self.addCleanup(server.__exit__)
        port = free_port()
        self.host.good("connector", "create", "backend", server.port, "--host", "127.0.0.1", "-n", "east")
        self.host.good("listener", "create", "backend", port, "--host", "127.0.0.1", "-n", "west")
        self.await_echo(port, 10)

    def secret(self, name, identity, keys=("ca.crt", "tls.crt", "tls.key")):
        lines = ["apiVersion: v1", "kind: Secret", "metadata:", f"  name: {name}", "data:"]
        lines += [f"  {key}: {base64.b64encode((identity / key).read_bytes()).decode()}" for key in keys]
        path = self.host.files / f"{name}.yaml"
        path.write_text("\n".join(lines) + "\n")
        self.host.good("system", "apply", "-f", path, "-n", "west")

    def test_tls_credentials(self):
        """TLS from the client to the listener, and from the connector to the server, with the user's certificates."""
        public = Authority(self.host.files / "public", "public CA")
        server = TLSServer(tls_echo, server_context(public.issue("server")))
        server.__enter__()
        self.addCleanup(server.__exit__)
        self.host.start_site("west")
        self.secret("front-tls", public.issue("front"))
        self.secret("backend-tls", public.issue("nobody"), keys=("ca.crt",))
        port = free_port()
        self.host.good("connector", "create", "secure", server.port, "--host", "127.0.0.1",
                       "--tls-credentials", "backend-tls", "-n", "west")
        self.host.good("listener", "create", "secure", port, "--host", "127.0.0.1",
                       "--tls-credentials", "front-tls", "-n", "west")

        def answer(certificate="front"):
            with connect(port, timeout=3) as connection:
                end = TLSEnd(connection, client_context(public.certificate), name="localhost").handshake()
                subject = dict(pair[0] for pair in end.tls.getpeercert()["subject"])
                end.send(b"hello")
                end.finish()
                return (end.receive_all(), subject["commonName"]) == (b"hello", certificate)

        def answered(certificate="front"):
            try:
                return answer(certificate)
            except OSError:
                return False
        wait_until("an answer through TLS", answered, 15, every=0.05)
        for noun in ("listener", "connector"):
            wait_until(f"the {noun} to be Ready",
                       lambda n=noun: re.search(r"secure\s+Ready", self.host.good(n, "status", "-n", "west")), 5,
                       every=0.1)
        # A new certificate in the Secret is shown to new connections, and the listener stays.
        self.secret("front-tls", public.issue("front-renewed"))
        wait_until("the renewed certificate", lambda: answered("front-renewed"), 15, every=0.1)

    def test_multi_key_listener(self):
        self.host.start_site("west")
        servers = {}
        for key in ("blue", "green"):
            servers[key] = Server(lambda connection, k=key: connection.sendall(k.encode()))
            servers[key].__enter__()
            self.addCleanup(servers[key].__exit__)
            self.host.good("connector", "create", key, servers[key].port, "--host", "127.0.0.1", "-n", "west")
        port = free_port()
        path = self.host.files / "multi.yaml"
        path.write_text(
            "apiVersion: skupper.io/v2alpha1\nkind: MultiKeyListener\nmetadata:\n  name: front\nspec:\n"
            f"  host: 127.0.0.1\n  port: {port}\n  strategy:\n    priority:\n      routingKeys: [blue, green]\n")
        self.host.good("system", "apply", "-f", path, "-n", "west")

        def asked(expected):
            try:
                with connect(port, timeout=3) as connection:
                    return connection.recv(100).decode() == expected
            except OSError:
                return False
        wait_until("the first key", lambda: asked("blue"), 15)
        self.host.good("connector", "delete", "blue", "-n", "west")
        wait_until("the second key", lambda: asked("green"), 15)

    def test_edge_site(self):
        """A site in edge mode: one link up, services in both directions, and no token of its own."""
        self.host.start_site("west", link_access=True)
        site = self.host.files / "site.yaml"
        site.write_text("apiVersion: skupper.io/v2alpha1\nkind: Site\nmetadata:\n  name: east\nspec:\n  edge: true\n")
        self.host.good("system", "apply", "-f", site, "-n", "east")
        self.host.namespaces.append("east")
        self.host.good("system", "start", "-n", "east", seconds=75)
        self.host.await_site("east")
        self.host.good("token", "redeem", self.host.token(), "-n", "east")
        self.host.await_link("east")
        self.await_echo(self.service())
        server = Server(echo)
        server.__enter__()
        self.addCleanup(server.__exit__)
        port = free_port()
        self.host.good("connector", "create", "below", server.port, "--host", "127.0.0.1", "-n", "east")
        self.host.good("listener", "create", "below", port, "--host", "127.0.0.1", "-n", "west")
        self.await_echo(port, 10)
        code, text = self.host.run("token", "issue", self.host.files / "t.yaml", "-n", "east")
        self.assertNotEqual(code, 0)
        self.assertIn("Edge sites cannot accept incoming links", text)

    def test_site_with_link_access_enabled_afterwards(self):
        self.host.start_site("west")
        code, text = self.host.run("token", "issue", self.host.files / "t.yaml", "-n", "west")
        self.assertNotEqual(code, 0)
        self.assertRegex(text, r"link access")
        self.host.good("site", "update", "west", *Host.LINK_ACCESS, "-n", "west")
        wait_until("a token to be issued", lambda: self.host.run(
            "token", "issue", self.host.files / "t.yaml", "-n", "west")[0] == 0, 15, every=0.2)
        self.host.start_site("east")
        self.host.good("token", "redeem", self.host.files / "t.yaml", "-n", "east")
        self.host.await_link("east")


class Tokens(SiteCase):
    def assert_refused(self, pattern, *arguments):
        """Non-zero exit, a text that matches, and nothing half-made left behind."""
        before = self.host.links("east")
        code, text = self.host.run(*arguments)
        self.assertNotEqual(code, 0, text)
        self.assertRegex(text, re.compile(pattern, re.IGNORECASE | re.DOTALL))
        self.assertEqual(self.host.links("east"), before)
        return text

    def redeem(self, path):
        return ("token", "redeem", path, "-n", "east")

    def changed(self, token, name, pattern, replacement):
        path = self.host.files / name
        text, count = re.subn(pattern, replacement, token.read_text(), flags=re.MULTILINE)
        self.assertGreaterEqual(count, 1)
        path.write_text(text)
        return path

    def test_every_bad_token_has_its_own_error(self):
        self.two_sites(linked=False)
        files = self.host.files
        token = self.host.token()
        seen = set()
        (files / "folder").mkdir()
        (files / "garbage.yaml").write_text("{this is: [not yaml\n")
        (files / "kind.yaml").write_text("apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\n")
        other = self.host.token("other.yaml")
        cases = {
            "missing file": (files / "nowhere.yaml", r"nowhere\.yaml"),
            "directory": (files / "folder", r"directory|folder"),
            "not YAML": (files / "garbage.yaml", r"yaml"),
            "wrong kind": (files / "kind.yaml", r"Secret.*AccessToken|AccessToken.*Secret"),
            "missing url": (self.changed(token, "nourl.yaml", r"^  url:.*\n", ""), r"url"),
            "missing code": (self.changed(token, "nocode.yaml", r"^  code:.*\n", ""), r"code"),
            "not https": (self.changed(token, "http.yaml", r"https://", "http://"), r"https"),
            "unknown grant": (self.changed(token, "unknown.yaml", r"(url: .*/)[0-9a-f]{8}", r"\g<1>00000000"),
                              r"unknown|no such|not know|expired"),
            "wrong code": (self.changed(token, "code.yaml", r"^(  code:).*", r"\1 AAAAAAAAAAAAAAAAAAAAAAAA"), r"code"),
            "another CA": (self._with_another_authority(token), r"certificate|CA"),
            "nobody there": (self.changed(token, "down.yaml", r"(url: https://[^/\n]*):\d+/", rf"\1:{free_port()}/"),
                             r"refused|connect"),
        }
        for name, (path, pattern) in cases.items():
            with self.subTest(token=name):
                text = self.assert_refused(pattern, *self.redeem(path))
                normal = re.sub(r"\S*/|[0-9a-f-]{36}|\d+", "", text)
                self.assertNotIn(normal, seen, "the same words as for another cause")
                seen.add(normal)
        # None of the refusals has used the token up.
        self.host.good(*self.redeem(token))
        self.host.await_link("east")
        self.assert_refused(r"redeemed here before", *self.redeem(token))
        self.assertTrue(other.exists())

    def _with_another_authority(self, token):
        pem = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null",
                              "-subj", "/CN=stranger", "-days", "2"], capture_output=True, text=True, timeout=30).stdout
        indented = "".join(f"    {line}\n" for line in pem.splitlines())
        text = re.sub(r"(?m)^  ca: \|.*\n(    .*\n)+", lambda _: "  ca: |\n" + indented, token.read_text())
        self.assertNotEqual(text, token.read_text())
        path = self.host.files / "stranger.yaml"
        path.write_text(text)
        return path

    def test_third_use_of_a_two_use_token_is_refused(self):
        self.host.start_site("west", link_access=True)
        token = self.host.token("two.yaml", "--redemptions-allowed", "2")
        for name in ("east", "north"):
            self.host.start_site(name)
            self.host.good("token", "redeem", token, "-n", name)
            self.host.await_link(name)
        self.host.start_site("south")
        code, text = self.host.run("token", "redeem", token, "-n", "south")
        self.assertNotEqual(code, 0)
        self.assertRegex(text, r"(?i)used")
        self.assertEqual(self.host.links("south"), [])

    def test_token_past_its_window_is_refused(self):
        self.two_sites(linked=False)
        code, text = self.host.run("token", "issue", self.host.files / "x.yaml", "-n", "west",
                                   "--expiration-window", "10s")
        self.assertNotEqual(code, 0)
        self.assertRegex(text, "expiration")
        # A minute is the shortest window there is.
        token = self.host.token("window.yaml", "--expiration-window", "1m")
        deadline = time.monotonic() + 61
        wait_until("the window to pass", lambda: time.monotonic() > deadline, 70, every=0.5)
        self.assert_refused(r"expired", *self.redeem(token))

    def test_issuing_site_down(self):
        self.two_sites(linked=False)
        token = self.host.token()
        self.host.good("system", "stop", "-n", "west")
        self.assert_refused(r"refused|reach|connect", *self.redeem(token))
        self.host.good("system", "start", "-n", "west")
        self.host.await_site("west")
        wait_until("the token to be redeemed once the site is back",
                   lambda: self.host.run(*self.redeem(token))[0] == 0, 15, every=0.3)
        self.host.await_link("east")

    def test_issuing_site_without_link_access(self):
        self.two_sites(linked=False)
        token = self.host.token()
        self.host.good("site", "update", "west", "--enable-link-access=false", "-n", "west")

        def refused_for_it():
            code, text = self.host.run(*self.redeem(token))
            return code != 0 and re.search(r"link access|endpoint|refused|connect", text, re.IGNORECASE)
        wait_until("the redemption to be refused", refused_for_it, 15, every=0.2)
        self.assertEqual(self.host.links("east"), [])


class Failures(SiteCase):
    def test_killed_routers_return(self):
        self.two_sites()
        port = self.service()
        for site in ("west", "east"):
            with self.subTest(killed=site):
                before = self.host.router_pid(site)
                os.kill(before, signal.SIGKILL)
                killed = time.monotonic()
                wait_until(f"another router process of {site}",
                           lambda: self.host.router_pid(site) != before, 5)
                self.await_echo(port, 5 - (time.monotonic() - killed) / SLOWNESS)
                self.host.await_link("east", 5)
                print(f"  {site}: Ready and serving {time.monotonic() - killed:.2f} s after kill -9", flush=True)

    def test_killed_controller_leaves_traffic_alone(self):
        self.two_sites()
        port = self.service()
        with connect(port) as held:
            held.sendall(b"hold")
            receive_exactly(held, 4)
            for pid in self.host.controller_pids():
                os.kill(pid, signal.SIGKILL)
            wait_until("the controllers to be gone", lambda: not self.host.controller_pids(), 10)
            held.sendall(b"more")
            self.assertEqual(receive_exactly(held, 4), b"more")
            self.await_echo(port)
            for site in ("west", "east"):
                self.host.good("system", "start", "-n", site)
            held.sendall(b"last")
            self.assertEqual(receive_exactly(held, 4), b"last")
        self.host.await_link("east", 10)

    def test_cost_changes_live(self):
        self.two_sites()
        port = self.service()
        name = self.host.links("east")[0][0]
        routers = self.host.router_pid("east"), self.host.router_pid("west")
        with connect(port) as held:
            held.sendall(b"hold")
            receive_exactly(held, 4)
            self.host.good("link", "update", name, "--cost", "7", "-n", "east")
            wait_until("link status to show the new cost",
                       lambda: self.host.links("east") == [(name, "Ready", "7", "OK")], 5, every=0.05)
            held.sendall(b"more")
            self.assertEqual(receive_exactly(held, 4), b"more")
        self.assertEqual((self.host.router_pid("east"), self.host.router_pid("west")), routers)

    def test_link_says_why_it_is_not_ready(self):
        self.two_sites()
        self.host.good("system", "stop", "-n", "west")
        wait_until("link status to give the cause",
                   lambda: [row for row in self.host.links("east")
                            if row[1] == "Pending" and re.match(r"Not operational: .*refused", row[3])], 10, every=0.1)

    def test_everything_survives_a_stop_and_a_start(self):
        self.two_sites()
        port = self.service()
        for site in ("west", "east"):
            self.host.good("system", "stop", "-n", site)
        wait_until("every process to end", lambda: not processes_of(self.host.home), 15)
        for site in ("west", "east"):
            self.host.good("system", "start", "-n", site)
        self.await_echo(port, 15)
        self.host.await_link("east", 5)


if __name__ == "__main__":
    unittest.main()
