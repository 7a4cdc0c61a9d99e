"""Names of users by certificate and names of metrics: the same in both products."""

import hashlib
import json
import re
import socket
import ssl
import unittest

from skrouterd_case import OURS, THEIRS, MixedCase, needs_skrouterd
from amqp_wire import Peer
from harness import client_context, free_port

SUBJECTS = {"ann": "/C=NZ/ST=Otago/L=Dunedin/O=Baker and Sons/OU=Bread/CN=ann", "bob": "/CN=bob/CN=robert",
            "cleo": "/O=One/O=Two/OU=a;b/CN=Cleo, the\\+first", "dora": "/DC=example/UID=dora"}
# Among them some that are none, and some of whose parts certificates lack.
FORMATS = (None, "", "1", "2", "5", "c", "s", "n", "nn", "noucs", "2noucs", "cs5", "scounl", "csloun1", "csloun12",
           "12", "1x", "N", "cslounnn")


@needs_skrouterd
class Alike(MixedCase):
    def test_names_of_users(self):
        identities = {name: self.authority.issue(name, subject=subject) for name, subject in SUBJECTS.items()}
        der = ssl.PEM_cert_to_DER_cert((identities["ann"] / "tls.crt").read_text())
        names = self.folder / "names.json"
        names.write_text(json.dumps({hashlib.sha1(der).hexdigest(): "Ann Baker", "bob": "", "NZ": "from far away",
                                     "CN=bob": "nobody"}))
        found = {}
        for product in (THEIRS, OURS):
            with self.part(product=product):
                found[product] = self.users(product, identities, str(names))
        for case, user in found[THEIRS].items():
            with self.subTest(case=case):
                self.assertEqual(found[OURS][case], user)

    def users(self, product, identities, names):
        """Who each certificate's owner is, by format, with and without a file of names."""
        router = self.make(product, "R", mode="standalone")
        ports = {}
        for text in FORMATS:
            for mapping in (None, names):
                profile = f"format {text} {mapping is not None}"
                given = {"uidFormat": text, "uidNameMappingFile": mapping}
                router.add("sslProfile", name=profile, certFile=str(router.identity / "tls.crt"),
                           privateKeyFile=str(router.identity / "tls.key"), caCertFile=str(router.identity / "ca.crt"),
                           **{key: value for key, value in given.items() if value is not None})
                port = ports[text, mapping is not None] = free_port()
                router.add("listener", name=f"for {profile}", host="127.0.0.1", port=port, sslProfile=profile,
                           saslMechanisms="EXTERNAL", authenticatePeer=True, requireSsl=True)
        self.start_all(router)
        contexts = {name: client_context(self.authority.certificate, folder) for name, folder in identities.items()}
        peers = {}
        for (text, mapped), port in ports.items():
            for name, context in contexts.items():
                connection = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10),
                                                 server_hostname="127.0.0.1")
                container = f"{text}/{mapped}/{name}"
                peers[container] = Peer(connection, "EXTERNAL", container=container).handshake()
        users = {row["container"]: row["user"] for row in self.rows(router, "connection", "container", "user")}
        for peer in peers.values():
            peer.close()
        return {container: users[container] for container in peers}

    def test_names_and_types_of_metrics(self):
        found = {}
        for product in (THEIRS, OURS):
            with self.part(product=product):
                router = self.make(product, "R", mode="standalone")
                self.start_all(router)
                kinds = {row["typeName"] for row in self.rows(router, "allocator", "typeName")}
                lines = [line for line in router.get("/metrics")[2].splitlines() if line.startswith("# TYPE")]
                found[product] = {line.split()[2]: line.split()[3] for line in lines}
                pools = [name for name in found[product] if ":" in name]
                self.assertEqual({name.split(":")[0] for name in pools}, kinds)
                self.assertEqual({name.split(":")[1] for name in pools}, {"allocated", "in_use", "cached", "bytes"})
                for name in pools:
                    self.assertRegex(name, r"\A[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
                    del found[product][name]
        own = {name: kind for name, kind in found[OURS].items() if re.match("skupper_", name)}
        self.assertEqual(found[OURS], {**found[THEIRS], **own})


if __name__ == "__main__":
    unittest.main()
