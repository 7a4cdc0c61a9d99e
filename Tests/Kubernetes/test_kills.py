"""A controller that is killed at any step of a set-up, and one of two that is."""

import contextlib
import pathlib
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from cluster import Refused, assets  # noqa: E402
from fault_proxy import FaultProxy, write  # noqa: E402
from harness import RANDOM, SEED, wait_until  # noqa: E402

LEASE = "/apis/coordination.k8s.io/v1/namespaces/skupper/leases/skupper-controller"


def replace_controller(cluster):
    """Kills the controller (kill -9) and starts the next. A takeover waits for the end of the Lease, half a minute,
    which test_two_replicas sees: here the Lease goes at once."""
    cluster.controller.kill()
    with contextlib.suppress(Refused):
        cluster.request("DELETE", LEASE)
    cluster.start_controller(wait=False)


class Killer:
    """Replaces the controller at writes of its own, before or after they reach the server."""

    def __init__(self, cluster, most_writes):
        self.cluster, self.most_writes = cluster, most_writes
        self.kills = []
        self.is_on = True
        self.lock = threading.Lock()
        self.left = RANDOM.randint(1, most_writes)
        cluster.proxy.on(self.is_due, self.act, times=1_000_000)

    def is_due(self, request):
        if not self.is_on or request.stage != "request" or not request.is_write:
            return False
        if request.user != "skupper:skupper-controller":
            return False
        self.left -= 1
        return self.left == 0

    def act(self, exchange):
        with self.lock:
            if not self.is_on:
                return exchange.pass_on()
            after = RANDOM.random() < 0.5
            if after:
                exchange.forward()
            self.kills.append(f"{'after' if after else 'before'} {exchange.request.method} {exchange.request.path}")
            replace_controller(self.cluster)
            self.left = RANDOM.randint(1, self.most_writes)
        exchange.hang_up()

    def stop(self):
        with self.lock:
            self.is_on = False


@unittest.skipIf(assets() is None, "KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver")
class Kills(unittest.TestCase):
    def setUp(self):
        from linked import LinkedCluster
        self.cluster = LinkedCluster().start()
        self.addCleanup(self.cluster.stop)

    def test_killed_at_random_steps_of_a_set_up(self):
        cluster = self.cluster
        cluster.start_controller()
        killer = Killer(cluster, most_writes=6)
        try:
            cluster.make_all()
        except AssertionError as error:
            raise AssertionError(f"{error}; seed {SEED}; killed {killer.kills}") from None
        finally:
            killer.stop()
        cluster.await_traffic()
        self.assertGreater(len(killer.kills), 4, killer.kills)
        self.assertEqual(cluster.drops(), [], f"seed {SEED}; killed {killer.kills}")
        # The last that was killed may have had something left to write, and the routers something left to say.
        cluster.await_network()
        cluster.settle()
        # The next life has nothing to do.
        begun = time.monotonic()
        replace_controller(cluster)
        wait_until("the last controller to lead", lambda: "this replica leads" in cluster.controller.log(), 60)
        cluster.listen("another")
        cluster.await_summary("Listener", "another", "east", "Ready OK", 60)
        writes = cluster.proxy.requests(
            lambda r: r.is_write and r.user == "skupper:skupper-controller", begun)
        rest = [r for r in writes if "another" not in r.path and "/configmaps/skupper-router" not in r.path]
        self.assertEqual(rest, [])

    def test_a_token_outlives_its_controllers(self):
        """Killed after the grant was used and before what it gave was written: with the use counted but not answered,
        and with the answer in memory only. The token is answered again, and for nobody else."""
        from linked import resource
        cluster = self.cluster
        cluster.start_controller()
        cluster.make_sites()
        kills = []

        def replace(after):
            def act(exchange):
                if after:
                    exchange.forward()
                replace_controller(cluster)
                kills.append(repr(exchange.request))
                exchange.hang_up()
            return act

        cluster.proxy.on(
            lambda r: write("/accessgrants/link/status")(r) and b"claims" in (r.body or b""), replace(True))
        cluster.proxy.on(lambda r: write("/namespaces/east/secrets")(r) and r.method == "POST", replace(False), times=2)
        cluster.link()
        self.assertEqual(len(kills), 3, kills)
        grant = cluster.get("AccessGrant", "link", "west")["status"]
        self.assertEqual(grant["redemptions"], 1)
        self.assertEqual(len(grant["claims"]), 1)
        cluster.apply(resource("AccessToken", "copy", **{k: grant[k] for k in ("url", "code", "ca")}), "east")
        wait_until("the refusal", lambda: cluster.summary("AccessToken", "copy", "east").startswith("Error"), 60)
        self.assertIn("404 (Not Found) No such access granted", cluster.summary("AccessToken", "copy", "east"))

    def test_two_replicas(self):
        """The standby writes nothing, follows a leader that was killed, and at once one that ended in order."""
        cluster = self.cluster
        one = cluster.start_controller(HOSTNAME="one")
        self.addCleanup(one.kill)
        wait_until("the first to lead", lambda: "this replica leads" in one.log(), 60)
        proxy = FaultProxy(cluster)
        self.addCleanup(proxy.stop)
        cluster.front, front = proxy.url, cluster.front
        from harness import free_port
        two = cluster.start_controller(HOSTNAME="two", SKUPPER_GRANT_SERVER_PORT=str(free_port()))
        self.addCleanup(two.kill)
        cluster.front = front
        wait_until("the second to stand by", lambda: "this replica stands by" in two.log(), 60)
        from linked import resource
        cluster.apply(resource("Site", "east"), "east")
        cluster.listen("first")
        wait_until("the first Service", lambda: cluster.get("Service", "first", "east"), 60)
        self.assertEqual(proxy.requests(lambda r: r.is_write), [])
        one.kill()
        killed = time.monotonic()
        cluster.listen("second")
        wait_until("the second Service", lambda: cluster.get("Service", "second", "east"), 60)
        waited = time.monotonic() - killed
        print(f"takeover {waited:.0f} s after the leader was killed", flush=True)
        self.assertLess(waited, 50)
        self.assertEqual(cluster.get("Service", "first", "east")["spec"]["ports"][0]["targetPort"], 1024)
        cluster.grant_port = None
        third = cluster.start_controller(HOSTNAME="three")
        wait_until("the third to stand by", lambda: "this replica stands by" in third.log(), 60)
        self.assertEqual(two.stop(), 0)
        cluster.listen("third")
        wait_until("the third Service", lambda: cluster.get("Service", "third", "east"), 20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
