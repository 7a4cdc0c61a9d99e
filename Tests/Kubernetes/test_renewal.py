"""Certificates are made anew before their time is over: nobody has to change anything for it, and no link ends."""

import base64
import pathlib
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness import wait_until  # noqa: E402
from linked import LinkedCase  # noqa: E402

LIFETIME = 60
CA_CONFIGURATION = """
[ca]
default_ca = this
[this]
database = {0}/index
new_certs_dir = {0}
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
[extensions]
basicConstraints = critical,CA:TRUE
keyUsage = critical,digitalSignature,keyEncipherment,keyCertSign
subjectKeyIdentifier = hash
"""


def openssl(*arguments, text=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=text, check=True, capture_output=True, text=True,
                          timeout=30).stdout


def times(text):
    """Begin and end of a certificate's time, seconds since 1970."""
    lines = openssl("x509", "-noout", "-startdate", "-enddate", text=text).splitlines()
    return [ssl.cert_time_to_seconds(line.partition("=")[2]) for line in lines]


class Renewal(LinkedCase):
    environment = {"SKUPPER_CERTIFICATE_LIFETIME": f"{LIFETIME}s"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Usually connections of the certificate before the last but one are closed.
        for name in ("west", "east"):
            cls.cluster.request("PATCH", f"{cls.cluster.place('Site', name)}/{name}", {"spec": {"settings": {
                "tls-prior-valid-revisions": "50"}}}, "application/merge-patch+json")

    def tearDown(self):
        self.cluster.use(self.stream)
        self.assertEqual(self.cluster.drops(), [])

    def text(self, name, namespace, key="tls.crt"):
        secret = self.cluster.get("Secret", name, namespace) or {}
        return base64.b64decode(secret.get("data", {}).get(key, "")).decode()

    def renewed(self, name, namespace, old):
        text = self.text(name, namespace)
        return text if text not in ("", old) else None

    def test_1_before_their_end(self):
        cluster = self.cluster
        names = [("skupper-site-server", "west"), ("skupper-local-server", "west"), ("skupper-local-server", "east"),
                 ("skupper-grant-server", "skupper")]
        before = {place: self.text(*place) for place in names}
        for _ in range(2):
            for place in names:
                old = before[place]
                wait_until(f"another {place}", lambda p=place, o=old: self.renewed(*p, o), LIFETIME, every=0.1)
                new = before[place] = self.text(*place)
                self.assertLess(times(new)[0], times(old)[1], f"{place} came when the old one's time was over")
                self.assertEqual(times(new)[1] - times(new)[0], LIFETIME)
        router = cluster.pods[0]
        first = times(before[("skupper-site-server", "west")])[0]
        wait_until("the router's file", lambda: times((
            router.folder / "skupper-site-server/tls.crt").read_text())[0] >= first, 30)
        # The certificates of the set-up are over: a new site links with the present ones.
        cluster.link("another-link")
        cluster.use(self.stream)
        cluster.await_traffic()
        cluster.await_summary("Link", "link", "east", "Ready OK", 30)

    def test_2_a_ca_keeps_its_key(self):
        """What it signed earlier, in other sites too, fits what it signs now."""
        cluster = self.cluster
        name = "skupper-site-ca"
        server = self.text("skupper-site-server", "west")
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "index").write_text("")
            (folder / "configuration").write_text(CA_CONFIGURATION.format(folder))
            (folder / "key").write_text(self.text(name, "west", "tls.key"))
            openssl("req", "-new", "-key", folder / "key", "-out", folder / "request", "-subj", "/CN=west site CA")
            now = time.time()
            begin, end = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(now + hours * 3600)) for hours in (-30, 10))
            openssl("ca", "-selfsign", "-batch", "-notext", "-config", folder / "configuration", "-keyfile",
                    folder / "key", "-in", folder / "request", "-out", folder / "ca", "-startdate", begin,
                    "-enddate", end, "-extensions", "extensions")
            old = (folder / "ca").read_text()
        data = {key: base64.b64encode(old.encode()).decode() for key in ("tls.crt", "ca.crt")}
        cluster.request("PATCH", f"{cluster.place('Secret', 'west')}/{name}", {"data": data},
                        "application/merge-patch+json")
        wait_until("another CA", lambda: self.renewed(name, "west", old), 30)
        new = self.text(name, "west")
        self.assertGreater(times(new)[1], time.time() + 4 * 365 * 86400)
        key = [openssl("x509", "-noout", "-pubkey", text=text) for text in (old, new)]
        self.assertEqual(key[0], key[1])
        wait_until("a server certificate of it", lambda: self.text("skupper-site-server", "west", "ca.crt") == new, 30)
        self.assertNotEqual(self.text("skupper-site-server", "west"), server)
        cluster.await_summary("Link", "link", "east", "Ready OK", 30)
        cluster.link("link-of-the-renewed-ca")


if __name__ == "__main__":
    unittest.main(verbosity=2)
