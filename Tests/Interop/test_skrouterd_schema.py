"""The schema that management tells, compared with skrouterd's: what differs is listed here, each with its reason."""

import json
import pathlib
import re
import unittest

from skrouterd_case import OURS, SKROUTERD, THEIRS, MixedCase, needs_skrouterd

from harness import ROOT

PREFIX = "io.skupper.router."
STRICTER = "it cannot be without, so that this is said when it is made and not later or never"
LIVE_COST = "the cost of a link can be changed while it is up"
UNSAID = "the core of skrouterd reports it, its schema does not know it"
OWN = "what is wrong in the network, told by routers without connectors too"
# {(type, attribute, what): reason}; a type without attribute: its operations.
ALLOWED = {
    ("management", None, "operations"): "PROFILE is about Python",
    ("connection", None, "operations"): "UPDATE closes a connection in both; skrouterd's schema does not say so",
    ("listener", None, "operations"): LIVE_COST,
    ("connector", None, "operations"): LIVE_COST,
    ("router", "problem", "presence"): OWN,
    ("router", "area", "default"): "both report 0, without being told",
    ("connection", "active", "presence"): UNSAID,
    ("router.address", "deliveriesRedirectedToFallback", "presence"): UNSAID,
    ("routerMetrics", "deliveriesRedirectedToFallback", "presence"): UNSAID,
    ("routerMetrics", "linksBlocked", "presence"): UNSAID,
    ("router.link", "linkType", "type"): "edge-downlink is reported by both, and not in skrouterd's schema",
    ("router.link", "connectionId", "type"): "both report text; skrouterd's schema says integer",
    ("router.node", "routerLink", "type"): "both report a number; skrouterd's schema says entityId",
    ("listener", "openProperties", "type"): "a map in both; skrouterd has a name of its own for it",
    ("connector", "openProperties", "type"): "a map in both; skrouterd has a name of its own for it",
    ("sslProfile", "name", "required"): STRICTER,
    ("proxyProfile", "name", "required"): STRICTER,
    ("tcpListener", "port", "required"): STRICTER,
    ("tcpConnector", "port", "required"): STRICTER,
    ("tcpConnector", "address", "required"): STRICTER,
}
# The same for what the replies do not tell: which attributes CREATE takes and UPDATE changes.
ALLOWED_FLAGS = {
    ("listener", "cost", "update"): LIVE_COST,
    ("connector", "cost", "update"): LIVE_COST,
    ("vhost", "maxMessageSize", "create"): "it has an effect, so it can be given",
    ("vhost", "maxMessageSize", "update"): "it has an effect, so it can be changed",
}
# `graph` is a hint for a console's charts; texts are everybody's own.
NOT_COMPARED = {"description", "graph"}


@needs_skrouterd
class SchemaCase(MixedCase):
    def setUp(self):
        super().setUp()
        self.both = {product: self.make(product, f"router-{product}") for product in (OURS, THEIRS)}
        self.start_all()

    def ask(self, product, operation, **properties):
        with self.management(self.both[product]) as management:
            status, text, body = management.request(operation, {}, **properties)
        self.assertEqual(status, 200, f"{operation} of {product}: {text}")
        return body

    def assert_only(self, found, allowed):
        """All differences found are allowed, and all that are allowed are there."""
        self.assertEqual({key: value for key, value in found.items() if key not in allowed}, {},
                         "(type, attribute, what): (ours, theirs)")
        self.assertEqual(set(allowed) - set(found), set(), "allowed, but there is no difference any more")


class Schema(SchemaCase):
    def test_types_attributes_operations(self):
        ours, theirs = (self.ask(product, "GET-SCHEMA") for product in (OURS, THEIRS))
        for product, schema in ((OURS, ours), (THEIRS, theirs)):
            self.assertEqual(json.loads(self.ask(product, "GET-JSON-SCHEMA")), schema, product)
        self.assertEqual(ours["prefix"], theirs["prefix"])
        ours, theirs = ours["entityTypes"], theirs["entityTypes"]
        self.assertGreater(len(theirs), 25)
        self.assertEqual(set(ours), set(theirs))
        found = {}
        for name, kind in theirs.items():
            own = ours[name]
            self.assertEqual(set(own) - NOT_COMPARED, set(kind) - NOT_COMPARED, name)
            self.assertEqual(own["fullyQualifiedType"], kind["fullyQualifiedType"])
            self.assertEqual(own.get("singleton"), kind.get("singleton"), name)
            if set(own.get("operations", [])) != set(kind.get("operations", [])):
                found[name, None, "operations"] = own["operations"], kind["operations"]
            self.compare(name, own["attributes"], kind["attributes"], found)
        self.assert_only(found, ALLOWED)

    def compare(self, kind, ours, theirs, found):
        for name in set(ours) | set(theirs):
            own, other = ours.get(name), theirs.get(name)
            if own is None or other is None:
                found[kind, name, "presence"] = own is not None, other is not None
                continue
            for what in (set(own) | set(other)) - NOT_COMPARED:
                # skrouterd leaves defaults out that count as false.
                values = [side.get(what) or None for side in (own, other)]
                if what == "type":
                    values = [sorted(value) if isinstance(value, list) else value for value in values]
                if values[0] != values[1]:
                    found[kind, name, what] = tuple(values)

    def test_what_the_single_operations_tell(self):
        """GET-TYPES, GET-ATTRIBUTES and GET-OPERATIONS of everything, of each type and of each kind."""
        names = [None, *self.ask(THEIRS, "GET-TYPES")]
        self.assertGreater(len(names), 25)
        extra = {(kind, name) for kind, name, what in ALLOWED if what == "presence"}
        differing = {kind for kind, _, what in ALLOWED if what == "operations"}
        for name in names:
            properties = {} if name is None else {"entityType": name}
            with self.subTest(type=name):
                ours, theirs = (self.ask(product, "GET-TYPES", **properties) for product in (OURS, THEIRS))
                self.assertEqual({kind: list(bases) for kind, bases in ours.items()},
                                 {kind: list(bases) for kind, bases in theirs.items()})
                ours, theirs = (self.ask(product, "GET-ATTRIBUTES", **properties) for product in (OURS, THEIRS))
                self.assertEqual(set(ours), set(theirs))
                for kind in theirs:
                    more = set(ours[kind]) ^ set(theirs[kind])
                    self.assertLessEqual({(kind[len(PREFIX):], attribute) for attribute in more}, extra)
                ours, theirs = (self.ask(product, "GET-OPERATIONS", **properties) for product in (OURS, THEIRS))
                self.assertEqual(set(ours), set(theirs))
                for kind in theirs:
                    if kind[len(PREFIX):] not in differing:
                        self.assertEqual(sorted(ours[kind]), sorted(theirs[kind]), kind)


class Flags(SchemaCase):
    def test_what_can_be_created_and_updated(self):
        """From the schema file that skrouterd was installed with, against our reference page, made from our schema."""
        found = [path for path in (
            pathlib.Path(SKROUTERD).resolve().parents[1] / part / "skrouter.json"
            for part in ("share/doc/skupper-router", "lib/skupper-router/python/skupper_router/management"))
            if path.exists()]
        if not found:
            self.skipTest(f"no skrouter.json beside {SKROUTERD}: which attributes can be created was not compared")
        theirs = json.loads(found[0].read_text())["entityTypes"]
        ours = self.page()
        differences = {}
        for kind, entity in theirs.items():
            # What cannot be created or changed at all has no use for the flags; listeners and connectors can here.
            operations = {"UPDATE"} if kind in ("listener", "connector") else set()
            operations |= set(entity.get("operations", []))
            if kind not in ours:
                self.assertFalse(operations & {"CREATE", "UPDATE"}, kind)
                continue
            for name, attribute in entity.get("attributes", {}).items():
                notes = ours[kind].get(name)
                if notes is None:
                    continue  # Its presence is compared above.
                own = {"create": "read-only" not in notes, "update": "updatable" in notes}
                for what in ("create", "update"):
                    if what.upper() in operations and own[what] != bool(attribute.get(what)):
                        differences[kind, name, what] = own[what], bool(attribute.get(what))
        self.assert_only(differences, ALLOWED_FLAGS)

    def page(self):
        """{type: {attribute: notes}} of docs/router-configuration.md."""
        kinds, attributes = {}, None
        for line in (ROOT / "docs/router-configuration.md").read_text().splitlines():
            if line.startswith("### "):
                attributes = kinds[line[4:]] = {}
            elif (match := re.match(r"\| `(\w+)` \| .*? \| .*? \| (.*?) \|", line)) and attributes is not None:
                attributes[match[1]] = set(match[2].split(", "))
        self.assertGreater(len(kinds), 20)
        return kinds


if __name__ == "__main__":
    unittest.main()
