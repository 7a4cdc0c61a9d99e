"""What listeners and profiles say beyond ports: names of users by certificate, address families, HTTPS, metrics."""

import contextlib
import hashlib
import json
import re
import socket
import ssl
import subprocess
import unittest
import urllib.error
import urllib.request

from amqp_wire import BEGIN, ManagementClient, ManagementError, Peer, PeerClosed, UInt
from harness import (BIN, MeshCase, Process, RouterCase, Server, can_connect, client_context, echo, free_port,
                     is_refused, wait_until)

ANN = "/C=NZ/ST=Otago/L=Dunedin/O=Baker and Sons/OU=Bread/CN=ann"
SUBJECT = "CN=ann,OU=Bread,O=Baker and Sons,L=Dunedin,ST=Otago,C=NZ"


class UserNames(MeshCase):
    def setUp(self):
        super().setUp()
        self.hub = self.router("hub", self.authority)
        self.ann = self.authority.issue("ann", subject=ANN)

    def digest(self, algorithm, identity=None):
        der = ssl.PEM_cert_to_DER_cert(((identity or self.ann) / "tls.crt").read_text())
        return hashlib.new(algorithm, der).hexdigest()

    def guarded(self, name, **profile):
        """The port of a listener that asks for certificates, with an sslProfile of its own."""
        identity = self.hub.identity
        self.hub.add("sslProfile", name=name, certFile=str(identity / "tls.crt"),
                     privateKeyFile=str(identity / "tls.key"), caCertFile=str(identity / "ca.crt"), **profile)
        port = free_port()
        self.hub.add("listener", name=f"for {name}", host="127.0.0.1", port=port, sslProfile=name,
                     saslMechanisms="EXTERNAL", authenticatePeer=True, requireSsl=True)
        return port

    def peer(self, port, identity, **arguments):
        context = client_context(self.authority.certificate, identity)
        connection = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10),
                                         server_hostname="127.0.0.1")
        peer = Peer(connection, "EXTERNAL", **arguments)
        self.resources.callback(peer.close)
        return peer.handshake()

    def user(self, port, identity=None):
        """Who the owner of a certificate is to the router."""
        peer = self.peer(port, identity or self.ann, container="who-am-i")
        with ManagementClient(self.hub.amqp_port) as management:
            user, = [row["user"] for row in management.query("connection") if row["container"] == "who-am-i"]
        peer.close()
        wait_until("the connection to be gone", lambda: not self.is_there("who-am-i"), 10)
        return user

    def is_there(self, container):
        with ManagementClient(self.hub.amqp_port) as management:
            return container in [row["container"] for row in management.query("connection")]

    def test_formats(self):
        sha1, sha256, sha512 = (self.digest(name) for name in ("sha1", "sha256", "sha512"))
        wanted = {"1": sha1, "2": sha256, "5": sha512, "2noucs": f"{sha256};ann;Baker and Sons;Bread;NZ;Otago",
                  "cs5": f"NZ;Otago;{sha512}", "scounl": "Otago;NZ;Baker and Sons;Bread;ann;Dunedin", "nn": "ann;ann",
                  "csloun1": f"NZ;Otago;Dunedin;Baker and Sons;Bread;ann;{sha1}", "": SUBJECT, None: SUBJECT,
                  # No formats: a letter without meaning, two fingerprints, more than seven letters.
                  "1x": SUBJECT, "abxd": SUBJECT, "12": SUBJECT, "cslounnn": SUBJECT}
        ports = {text: self.guarded(f"format {text}", **({} if text is None else {"uidFormat": text}))
                 for text in wanted}
        bob = self.authority.issue("bob")
        self.hub.start()
        for text, name in wanted.items():
            with self.subTest(format=text):
                self.assertEqual(self.user(ports[text]), name)
        # Parts that the certificate does not have are left out; without any the subject stands.
        self.assertEqual(self.user(ports["2noucs"], bob), f"{self.digest('sha256', bob)};bob")
        self.assertEqual(self.user(ports["nn"], bob), "bob;bob")
        log = self.hub.process.log()
        for text in ("1x", "abxd", "12", "cslounnn"):
            self.assertIn(f"Invalid format for uidFormat field in sslProfile 'format {text}': {text}", log)
        self.assertEqual(log.count("Invalid format for uidFormat"), 4)

    def test_none_of_the_parts(self):
        port = self.guarded("country", uidFormat="c")
        self.hub.start()
        self.assertEqual(self.user(port, self.authority.issue("bob")), "CN=bob")

    def test_names_from_a_file(self):
        names = self.folder / "names.json"
        names.write_text(json.dumps({self.digest("sha1"): "Ann Baker", "CN=ann": "nobody", "bob": ""}))
        ports = [self.guarded(f"mapped {text}", uidFormat=text, uidNameMappingFile=str(names)) for text in "1n"]
        self.hub.start()
        self.assertEqual(self.user(ports[0]), "Ann Baker")
        self.assertEqual(self.user(ports[1]), "ann")
        self.assertEqual(self.user(ports[1], self.authority.issue("bob")), "bob")
        names.write_text(json.dumps({"ann": "Ann of Dunedin"}))
        with ManagementClient(self.hub.amqp_port) as management:
            # As when certificates are renewed: files are read again.
            management.update("sslProfile", "mapped n", ordinal=1)
        self.assertEqual(self.user(ports[1]), "Ann of Dunedin")
        for text, words in (("[1]", "no JSON object"), ('{"a": 1}', '"a" is no text'), ("{", "not valid JSON")):
            names.write_text(text)
            with ManagementClient(self.hub.amqp_port) as management:
                with self.assertRaises(ManagementError) as refused:
                    management.update("sslProfile", "mapped n", ordinal=2)
                self.assertIn(words, str(refused.exception))
                self.assertIn(str(names), str(refused.exception))
                self.assertEqual(management.read("sslProfile", "mapped n")["ordinal"], 1)
        self.assertEqual(self.user(ports[1]), "Ann of Dunedin")
        with ManagementClient(self.hub.amqp_port) as management:
            with self.assertRaises(ManagementError) as refused:
                management.create("sslProfile", "lost", uidFormat="n", uidNameMappingFile=str(self.folder / "nowhere"))
            self.assertEqual(refused.exception.status, 400)
            self.assertIn("nowhere", str(refused.exception))

    def test_rules_of_a_vhost_are_for_such_names(self):
        port = self.guarded("short names", uidFormat="no")
        self.hub.add("policy", enableVhostPolicy=True)
        free = {"remoteHosts": "*", "sources": "*", "targets": "*", "allowDynamicSource": True,
                "allowAnonymousSender": True}
        self.hub.add("vhost", hostname="$default", allowUnknownUser=True, groups={"$default": free})
        self.hub.add("vhost", hostname="bakery", groups={"bakers": {**free, "users": "ann;Baker and Sons"}})
        self.hub.start()

        def begin(identity):
            peer = self.peer(port, identity, hostname="bakery")
            peer.send(BEGIN, None, UInt(0), UInt(1000), UInt(1000))
            peer.expect(BEGIN)
        begin(self.ann)
        with self.assertRaises(PeerClosed):
            begin(self.authority.issue("bob"))


class Families(RouterCase):
    def setUp(self):
        super().setUp()
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError as error:
            self.skipTest(f"no IPv6 here: {error}")
        self.hub = self.router("hub", mode="standalone")

    def listen(self, host, family, **attributes):
        port = free_port()
        attributes.update({} if family is None else {"socketAddressFamily": family})
        self.hub.add("listener", name=f"at {port}", host=host, port=port, **attributes)
        return port

    def families(self, port):
        return [family for family, host in (("IPv4", "127.0.0.1"), ("IPv6", "::1")) if not is_refused(port, host)]

    def test_only_the_family_is_bound(self):
        both = ["IPv4", "IPv6"]
        wanted = [("", None, both), ("", "IPv4", both[:1]), ("", "IPv6", both[1:]), ("*", "IPv6", both[1:]),
                  ("127.0.0.1", "IPv4", both[:1]), ("::1", "IPv6", both[1:]), ("::1", None, both[1:])]
        ports = [(self.listen(host, family, http=http), http, host, family, reached)
                 for host, family, reached in wanted for http in (False, True) if host != "*" or not http]
        self.hub.start()
        for port, http, host, family, reached in ports:
            with self.subTest(http=http, host=host, family=family):
                self.assertEqual(self.families(port), reached)

    def test_an_address_of_the_other_family_is_refused(self):
        self.hub.start()
        with ManagementClient(self.hub.amqp_port) as management:
            for host, family in (("127.0.0.1", "IPv6"), ("::1", "IPv4")):
                with self.assertRaises(ManagementError) as refused:
                    management.create("listener", "l", host=host, port=str(free_port()), socketAddressFamily=family)
                self.assertEqual(refused.exception.status, 400)
                self.assertIn(f"host '{host}' has no {family} address", str(refused.exception))
            management.create("connector", "c", host="127.0.0.1", port="1", socketAddressFamily="IPv6")
            wait_until("the connector to say why it cannot connect",
                       lambda: "no IPv6 address" in (management.read("connector", "c")["connectionMsg"] or ""), 10)

    def test_names_of_hosts(self):
        """With a hosts file of its own: a name with an IPv6 address only, and one with an address of each family."""
        hosts = self.folder / "hosts"
        hosts.write_text("127.0.0.1 localhost\n::1 six.test\n::1 both.test\n127.0.0.1 both.test\n"
                         "2001:db8::1 far.test\n")
        wrapper = ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
        with contextlib.suppress(OSError):
            tried = subprocess.run([*wrapper, "true"], capture_output=True, timeout=30)
            if tried.returncode != 0:
                self.skipTest(f"no mounts of its own here: {tried.stderr.decode().strip()}")
        six = [self.listen("six.test", None), self.listen("six.test", "IPv6"), self.listen("six.test", None, http=True),
               self.listen("both.test", "IPv6")]
        four = [self.listen("both.test", None), self.listen("both.test", "IPv4")]
        server = self.keep(Server(echo))
        service = self.hub.tcp_listener("service", host="six.test")
        self.hub.tcp_connector("service", server.port)
        # Where each of the two families is listened at by a port of its own, only one of the name's addresses answers.
        for family, port in (("IPv4", four[0]), ("IPv6", six[0])):
            self.hub.add("connector", name=f"to {family}", host="both.test", port=str(port), socketAddressFamily=family)
            self.hub.add("connector", name=f"not to {family}", host="both.test", port=str(port),
                         socketAddressFamily="IPv6" if family == "IPv4" else "IPv4")
        self.hub.config_path.write_text(json.dumps(self.hub.entities))
        self.hub.process = Process([*wrapper, BIN / "skupper-router", "-c", self.hub.config_path],
                                   self.hub.folder / "router.log")
        self.hub.wait_healthy()
        for port in six:
            self.assertEqual(self.families(port), ["IPv6"], port)
        for port in four:
            self.assertEqual(self.families(port), ["IPv4"], port)
        wait_until("the service to be reachable", lambda: can_connect(service, "::1"), 10)
        with ManagementClient(self.hub.amqp_port) as management:
            def state(name):
                return management.read("connector", name)["connectionStatus"]
            for family in ("IPv4", "IPv6"):
                wait_until(f"connection over {family}", lambda: state(f"to {family}") == "SUCCESS", 10)
                wait_until(f"no connection but over {family}", lambda: state(f"not to {family}") == "FAILED", 10)
            # Not six.test: the C library takes ::1 in a hosts file for 127.0.0.1 as well.
            for family, words in (("IPv4", "host 'far.test' has no IPv4 address"),
                                  ("IPv6", "cannot listen on far.test")):
                with self.assertRaises(ManagementError) as refused:
                    management.create("listener", "x", host="far.test", port=str(free_port()),
                                      socketAddressFamily=family)
                self.assertIn(words, str(refused.exception))


class HTTPS(MeshCase):
    def setUp(self):
        super().setUp()
        self.hub = self.router("hub", self.authority)
        self.port = free_port()

    def secure(self, port=None, profile="mesh", **attributes):
        port = port or free_port()
        self.hub.add("listener", name=f"https {port}", host="127.0.0.1", port=port, http=True, sslProfile=profile,
                     **attributes)
        return port

    def get(self, port, path="/healthz", identity=None, scheme="https", context=None):
        context = context or client_context(self.authority.certificate, identity)
        with urllib.request.urlopen(f"{scheme}://127.0.0.1:{port}{path}", timeout=5, context=context) as answer:
            return answer.read().decode()

    def assert_refused(self, port, **arguments):
        with self.assertRaises((OSError, urllib.error.URLError)):
            self.get(port, **arguments)

    def certificate(self, port):
        """The serial number of the certificate that is shown."""
        context = client_context(self.authority.certificate)
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection, \
                context.wrap_socket(connection, server_hostname="127.0.0.1") as secured:
            return secured.getpeercert()["serialNumber"]

    def test_health_and_metrics(self):
        port, strict = self.secure(), self.secure(authenticatePeer=True, requireSsl=True)
        self.hub.start()
        self.assertEqual(self.get(port), "OK\n")
        self.assertIn("qdr_router_rss_bytes", self.get(port, "/metrics"))
        self.assert_refused(port, scheme="http")
        self.assert_refused(strict)
        self.assertEqual(self.get(strict, identity=self.authority.issue("scraper")), "OK\n")
        with ManagementClient(self.hub.amqp_port) as management:
            management.delete("listener", f"https {port}")
        wait_until("the port to be closed", lambda: is_refused(port), 10)
        self.assertEqual(self.get(strict, identity=self.authority.issue("scraper")), "OK\n")

    def test_versions_password_and_ciphers_of_the_profile(self):
        folder = self.hub.identity
        encrypted = self.folder / "encrypted.key"
        subprocess.run(["openssl", "pkey", "-in", folder / "tls.key", "-aes256", "-passout", "pass:a secret", "-out",
                        encrypted], check=True, capture_output=True)
        files = {"certFile": str(folder / "tls.crt"), "caCertFile": str(folder / "ca.crt")}
        self.hub.add("sslProfile", name="older", privateKeyFile=str(encrypted), password="pass:a secret",
                     protocols="TLSv1.2", ciphers="ECDHE-RSA-AES256-GCM-SHA384", **files)
        self.hub.add("sslProfile", name="newer", privateKeyFile=str(folder / "tls.key"), protocols="TLSv1.3", **files)
        older, newer = self.secure(profile="older"), self.secure(profile="newer")
        self.hub.start()

        def context(version):
            made = client_context(self.authority.certificate)
            made.minimum_version = made.maximum_version = version
            return made
        for port, allowed, other in ((older, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
                                     (newer, ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2)):
            self.assertEqual(self.get(port, context=context(allowed)), "OK\n")
            self.assert_refused(port, context=context(other))
        with socket.create_connection(("127.0.0.1", older), timeout=5) as connection, \
                context(ssl.TLSVersion.TLSv1_2).wrap_socket(connection, server_hostname="127.0.0.1") as secured:
            self.assertEqual(secured.cipher()[0], "ECDHE-RSA-AES256-GCM-SHA384")

    def test_what_cannot_be_used_is_refused_and_named(self):
        folder = self.hub.identity
        files = {"certFile": str(folder / "tls.crt"), "privateKeyFile": str(folder / "tls.key")}
        self.hub.start()
        with ManagementClient(self.hub.amqp_port) as management:
            def refusal(**profile):
                management.create("sslProfile", "p", **profile)
                with self.assertRaises(ManagementError) as refused:
                    management.create("listener", "l", host="127.0.0.1", port=str(self.port), http=True, sslProfile="p",
                                      authenticatePeer=True)
                management.delete("sslProfile", "p")
                self.assertEqual(refused.exception.status, 400)
                return str(refused.exception)
            missing = str(self.folder / "nothing.crt")
            self.assertIn(missing, refusal(**{**files, "certFile": missing}, caCertFile=str(folder / "ca.crt")))
            self.assertIn("caCertFile", refusal(**files))
            self.assertIn("TLSv1.1", refusal(**files, caCertFile=str(folder / "ca.crt"), protocols="TLSv1.1x"))
            self.assertIn("TLSv1.2 and TLSv1.3",
                          refusal(**files, caCertFile=str(folder / "ca.crt"), protocols="TLSv1.1"))
            self.assertIn("ciphers", refusal(**files, caCertFile=str(folder / "ca.crt"), ciphers="none of these"))
        self.assertTrue(is_refused(self.port))

    def test_renewed_files_are_shown(self):
        live = self.folder / "live"
        live.mkdir()

        def install(identity):
            for name in ("tls.crt", "tls.key", "ca.crt"):
                (live / name).write_bytes((identity / name).read_bytes())
        install(self.authority.issue("first"))
        self.hub.add("sslProfile", name="live", certFile=str(live / "tls.crt"), privateKeyFile=str(live / "tls.key"),
                     caCertFile=str(live / "ca.crt"))
        port = self.secure(profile="live")
        self.hub.start()
        before = self.certificate(port)
        install(self.authority.issue("second"))
        self.assertEqual(self.certificate(port), before)
        with ManagementClient(self.hub.amqp_port) as management:
            management.update("sslProfile", "live", ordinal=1)
            after = self.certificate(port)
            self.assertNotEqual(after, before)
            (live / "tls.key").write_text("no key\n")
            with self.assertRaises(ManagementError):
                management.update("sslProfile", "live", ordinal=2)
        self.assertEqual(self.certificate(port), after)
        self.assertEqual(self.get(port), "OK\n")


# What skrouterd 3.5.1 has, but for the kinds of memory that only its allocator knows.
NAMES = """
qdr_connections_total qdr_links_total qdr_addresses_total qdr_routers_total qdr_presettled_deliveries_total
qdr_dropped_presettled_deliveries_total qdr_accepted_deliveries_total qdr_released_deliveries_total
qdr_rejected_deliveries_total qdr_modified_deliveries_total qdr_deliveries_ingress_total qdr_deliveries_egress_total
qdr_deliveries_transit_total qdr_deliveries_delayed_1sec_total qdr_deliveries_delayed_10sec_total
qdr_deliveries_stuck_total qdr_links_blocked_total qdr_last_topology_change_timestamp qdr_alloc_pool_bytes
qdr_router_vmsize_bytes qdr_router_rss_bytes qdr_tcp_service_connections qdr_amqp_service_connections
qdr_http1_service_connections qdr_http2_service_connections
""".split()
OWN_NAMES = ["skupper_service_octets_received_total", "skupper_service_octets_sent_total"]


class Metrics(RouterCase):
    def setUp(self):
        super().setUp()
        self.hub = self.router("hub", workerThreads=2)

    def test_names_and_types(self):
        self.hub.start()
        lines = self.hub.get("/metrics")[2].splitlines()
        pools = [f"buffers_of_loop_{loop}:{what}" for loop in (0, 1)
                 for what in ("allocated", "in_use", "cached", "bytes")]
        self.assertEqual(sorted(line.split()[0] for line in lines[1::2]), sorted(NAMES + OWN_NAMES + pools))
        for about, line in zip(lines[::2], lines[1::2]):
            name, value = line.split()
            self.assertRegex(name, r"\A[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
            self.assertRegex(value, r"\A[0-9]+\Z")
            counts = re.fullmatch(r"qdr_.*deliveries.*_total|skupper_.*", name) and name != "qdr_deliveries_stuck_total"
            self.assertEqual(about, f"# TYPE {name} {'counter' if counts else 'gauge'}")
        with ManagementClient(self.hub.amqp_port) as management:
            kinds = {row["typeName"] for row in management.query("allocator")}
        self.assertEqual(kinds, {name.split(":")[0] for name in pools})
        metrics = self.hub.metrics()
        self.assertGreater(metrics["qdr_alloc_pool_bytes"], 0)
        self.assertEqual(metrics["qdr_alloc_pool_bytes"],
                         sum(metrics[f"buffers_of_loop_{loop}:bytes"] for loop in (0, 1)))


if __name__ == "__main__":
    unittest.main()
