"""Messages about addresses that are lost or out of order: what both products ask for, answer and then know."""

import unittest

from skrouterd_case import OURS, THEIRS, MixedCase, needs_skrouterd

from harness import client_context, connect, wait_until
from router_peer import RouterPeer

# Longer than the second that skrouterd may wait for its tick.
QUIET = 2.5


@needs_skrouterd
class Resynchronisation(MixedCase):
    """A neighbour of our own making next to either product; it loses, repeats and reorders what it says."""

    def neighbour(self, product):
        self.router_at = router = self.make(product, f"router-{product}")
        port = router.listen_for_routers()
        router.tcp_connector("first", 1)
        self.start_all(router)
        context = client_context(self.authority.certificate, self.authority.issue("peer"))
        peer = RouterPeer(context.wrap_socket(connect(port, timeout=20), server_hostname="127.0.0.1"), "peer")
        self.addCleanup(peer.close)
        peer.addresses = self.descriptors("a")
        peer.until_neighbour()
        self.await_known(peer, "a")
        return peer

    def descriptors(self, letters):
        return [[f"Mresync-{letter}", 3, 0] for letter in letters]

    def known(self):
        """The letters of the addresses that the router has from this neighbour."""
        return "".join(sorted(row["name"][-1] for row in self.rows(self.router_at, "router.address", "name",
                                                                   "remoteCount")
                              if row["name"].startswith("Mresync-") and row["remoteCount"] == 1))

    def await_known(self, peer, letters):
        wait_until(f"the router to know {letters}", lambda: peer.step(0.1) and self.known() == letters, 10, 0)

    def say(self, peer, sequence, letters):
        """A differential update under this number."""
        peer.mobile_sequence = sequence - 1
        peer.add_addresses(self.descriptors(letters))

    def requests(self, peer, since, **options):
        """`have_seq` of the requests that come after this mark, for so long."""
        peer.step(QUIET, **options)
        return [body["have_seq"] for opcode, body in peer.heard[since:] if opcode == "MAR"]

    def await_request(self, peer, since):
        def asked():
            peer.step(0.1, answers=False)
            return [body["have_seq"] for opcode, body in peer.heard[since:] if opcode == "MAR"]
        return wait_until("a request for addresses", asked, 10, 0)[0]

    def both(self, check):
        """What `check` sees is the same next to either product."""
        seen = {}
        for product in (OURS, THEIRS):
            with self.part(product=product):
                seen[product] = check(self.neighbour(product))
        self.assertEqual(seen.get(OURS), seen.get(THEIRS))
        return seen[OURS]

    def test_updates_towards_the_router(self):
        def check(peer):
            seen = []
            mark = len(peer.heard)
            self.say(peer, 2, "b")
            self.await_known(peer, "ab")
            seen.append(("next in order", self.requests(peer, mark), self.known()))
            # Number 3 is lost: what 4 says is not taken without it, and all is asked for.
            mark = len(peer.heard)
            self.say(peer, 4, "d")
            have = self.await_request(peer, mark)
            seen.append(("one lost", have, self.known()))
            peer.addresses = self.descriptors("abcd")
            peer.send_addresses()
            self.await_known(peer, "abcd")
            # Only the number of a lost update is heard of.
            mark = len(peer.heard)
            peer.mobile_sequence = 6
            peer.advertise()
            have = self.await_request(peer, mark)
            peer.addresses = self.descriptors("be")
            peer.send_addresses()
            self.await_known(peer, "be")
            seen.append(("advertised and lost", have))
            # An old one comes late.
            mark = len(peer.heard)
            self.say(peer, 3, "c")
            peer.mobile_sequence = 6
            seen.append(("late", self.await_request(peer, mark), self.known()))
            peer.send_addresses()
            mark = len(peer.heard)
            self.say(peer, 7, "f")
            self.await_known(peer, "bef")
            seen.append(("in order again", self.requests(peer, mark)))
            # All at once, under a number that is lower: believed, as after a restart.
            peer.mobile_sequence, peer.addresses = 2, self.descriptors("z")
            peer.send_addresses()
            self.await_known(peer, "z")
            return seen
        self.assertEqual(self.both(check), [
            ("next in order", [], "ab"), ("one lost", 2, "ab"), ("advertised and lost", 4), ("late", 6, "be"),
            ("in order again", [])])

    def test_an_answer_that_is_lost(self):
        """The first request is not answered; the next advertisement brings another."""
        def check(peer):
            mark = len(peer.heard)
            self.say(peer, 5, "e")
            first = self.await_request(peer, mark)
            peer.step(QUIET, answers=False)
            mark = len(peer.heard)
            peer.advertise()
            second = self.await_request(peer, mark)
            peer.addresses = self.descriptors("abe")
            peer.send_addresses()
            self.await_known(peer, "abe")
            return first, second
        self.assertEqual(self.both(check), (1, 1))

    def test_the_same_update_twice(self):
        """skrouterd asks for everything once more; ours sees that it has it."""
        for product, requests in ((OURS, []), (THEIRS, [2])):
            with self.part(product=product):
                peer = self.neighbour(product)
                self.say(peer, 2, "b")
                self.await_known(peer, "ab")
                peer.addresses = self.descriptors("ab")
                mark = len(peer.heard)
                self.say(peer, 2, "b")
                self.assertEqual(self.requests(peer, mark), requests)
                self.assertEqual(self.known(), "ab")

    def test_requests_to_the_router(self):
        def answers(peer, since):
            peer.step(QUIET)
            return [self.shown(body) for opcode, body in peer.heard[since:] if opcode == "MAU"]

        def check(peer):
            seen = []
            peer.step(QUIET)
            current = max(body["mobile_seq"] for opcode, body in peer.heard if opcode in ("RA", "MAU"))
            for name, have in (("nothing", 0), ("one less", current - 1), ("all", current), ("more", current + 5)):
                mark = len(peer.heard)
                peer.request_addresses(have)
                found = answers(peer, mark)
                seen.append((name, [(kind, number - current, keys) for kind, number, keys in found]))
            # Changes come as differences under the next numbers, each followed by an advertisement of that number.
            for operation in ("create", "delete"):
                mark = len(peer.heard)
                with self.management(self.router_at) as management:
                    if operation == "create":
                        management.create("tcpConnector", "second", host="127.0.0.1", port="1", address="second")
                    else:
                        management.delete("tcpConnector", "second")
                current += 1

                def advertised(mark=mark, current=current):
                    peer.step(0.1)
                    return any(opcode == "RA" and body["mobile_seq"] == current for opcode, body in peer.heard[mark:])
                wait_until("the new number to be advertised", advertised, 10, 0)
                told = [opcode for opcode, body in peer.heard[mark:] if opcode in ("MAU", "RA")
                        and body["mobile_seq"] == current]
                changes = [self.shown(body) for opcode, body in peer.heard[mark:] if opcode == "MAU"]
                seen.append((operation, told[0], [(kind, keys) for kind, _, keys in changes]))
            return seen
        everything = ["Mfirst"]
        self.assertEqual(self.both(check), [
            ("nothing", [("exist", 0, everything)]), ("one less", [("exist", 0, everything)]),
            ("all", []), ("more", []),
            ("create", "MAU", [("add", ["Msecond"])]), ("delete", "MAU", [("del", ["Msecond"])])])

    def shown(self, body):
        """(kind, number, keys) of an update; addresses of telemetry, which have random names, left out."""
        kind = "exist" if "exist" in body else "add" if body["add"] else "del"
        keys = sorted(entry[0] for entry in body[kind])
        return kind, body["mobile_seq"], [key for key in keys if not key.startswith(("Msfe.", "Mvfcr."))]


if __name__ == "__main__":
    unittest.main()
