"""The same messages as in test_messaging.py over networks that mix our routers with skrouterd's."""

import unittest

import test_messaging
from skrouterd_case import MixedNetwork, needs_skrouterd


class TheirMiddleAndEdge(MixedNetwork):
    theirs = ("two", "edge")


class TheirEnds(MixedNetwork):
    theirs = ("one", "three")
    # What skrouterd itself does otherwise towards its own clients:
    # it lets receivers attach to another router's address, takes credit back only when a message finds nobody, gives
    # a sender with a dynamic target credit before its receiver is known, and answers every settle mode with mixed.
    test_router_address_is_no_source = None
    test_credit_follows_the_receivers = None
    test_dynamic_target = None
    test_receiver_that_wants_settled_deliveries = None


def _combine():
    """One class for each network and each class of test_messaging."""
    for network in (TheirMiddleAndEdge, TheirEnds):
        for name in ("Anycast", "Outcomes", "Multicast", "Addresses", "Credit"):
            combined = f"{network.__name__}{name}"
            made = type(combined, (network, getattr(test_messaging, name)), {"__module__": __name__})
            globals()[combined] = needs_skrouterd(made)


_combine()

if __name__ == "__main__":
    unittest.main()
