"""SASL PLAIN between Proton's client, skrouterd and our router, all with one user database."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))

from proton import SASL, ConnectionException  # noqa: E402
from proton.utils import BlockingConnection  # noqa: E402

from harness import free_port, wait_until  # noqa: E402
from password_service import PasswordService  # noqa: E402
from skrouterd_case import BOTH_WAYS, OURS, THEIRS, MixedCase, needs_skrouterd  # noqa: E402

SECRET = "pässword"


class PasswordCase(MixedCase):
    def setUp(self):
        super().setUp()
        self.service = self.keep(PasswordService(self.folder / "sasl", {"ann@here": SECRET}))

    def clients(self, product):
        router = self.make(product, f"c-{product}", **self.service.settings)
        port = free_port()
        router.add("listener", name="guarded", host="127.0.0.1", port=port, saslMechanisms="PLAIN",
                   authenticatePeer=True)
        self.start_all(router)

        def connect(password):
            return BlockingConnection(f"amqp://127.0.0.1:{port}", timeout=10, user="ann@here", password=password,
                                      allow_insecure_mechs=True, allowed_mechs="PLAIN", reconnect=False)
        connection = connect(SECRET)
        row = next(row for row in self.rows(router, "connection") if row["sasl"] == "PLAIN")
        connection.close()
        with self.assertRaises(ConnectionException) as caught:
            connect("wrong")
        error = str(caught.exception).partition("Condition")[2]
        return {name: row[name] for name in ("sasl", "user", "isAuthenticated", "isEncrypted")}, error


@unittest.skipUnless(SASL.extended(), "this Proton is built without Cyrus SASL")
class Proton(PasswordCase):
    def test_a_client_at_our_router(self):
        row, error = self.clients(OURS)
        self.assertEqual(row, {"sasl": "PLAIN", "user": "ann@here", "isAuthenticated": True, "isEncrypted": False})
        self.assertIn("Authentication failed", error)

    @needs_skrouterd
    def test_as_at_skrouterd(self):
        results = []
        for product in (OURS, THEIRS):
            with self.part(product=product):
                results.append(self.clients(product))
        self.assertEqual(*results)


@needs_skrouterd
class Routers(PasswordCase):
    def test_links(self):
        for listening, dialling in BOTH_WAYS:
            for password, is_right in ((SECRET, True), ("wrong", False)):
                with self.part(listening=listening, password=password):
                    far = self.make(listening, f"far-{listening}", **self.service.settings)
                    port = far.listen_for_routers(saslMechanisms="PLAIN")
                    near = self.make(dialling, f"near-{dialling}")
                    near.connect_to(port, saslMechanisms="PLAIN", saslUsername="ann@here", saslPassword=password)
                    self.start_all(far, near)
                    if not is_right:
                        wait_until("the refusal", lambda: "PLAIN" in near.process.log(), 15)
                        self.assertEqual(self.nodes(near), {})
                        continue
                    wait_until("the link", lambda: far.name in self.nodes(near) and near.name in self.nodes(far), 20)
                    rows = [row for row in self.rows(far, "connection") if row["role"] == "inter-router"]
                    self.assertEqual([(row["sasl"], row["user"]) for row in rows], [("PLAIN", "ann@here")])


if __name__ == "__main__":
    unittest.main()
