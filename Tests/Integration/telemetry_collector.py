"""A collector of telemetry (router-protocol sheet, section 8), written by itself: no code of the router."""

import contextlib
import socket
import threading

from amqp_wire import (AMQP_VALUE, APPLICATION_PROPERTIES, ATTACH, BEGIN, FLOW, PROPERTIES, TRANSFER, Described, Peer,
                       PeerClosed, Symbol, UByte, UInt, ULong, decode, encode, frame)
from harness import connect, wait_until

WINDOW = UInt((1 << 31) - 1)
KINDS = {0: "SITE", 1: "ROUTER", 2: "LINK", 4: "LISTENER", 5: "CONNECTOR", 14: "LOG", 15: "ROUTER_ACCESS",
         16: "FLOW", 17: "REQUEST"}
NAMES = {2: "parent", 3: "start", 4: "end", 6: "peer", 7: "process", 9: "location", 10: "provider", 11: "platform",
         12: "namespace", 13: "mode", 14: "source_host", 15: "destination_host", 16: "protocol", 17: "source_port",
         18: "destination_port", 19: "address", 20: "image_name", 21: "image_version", 22: "host_name", 23: "octets",
         24: "latency", 27: "method", 28: "result", 29: "reason", 30: "name", 31: "trace", 32: "version",
         33: "cost", 40: "flow_count", 47: "stream", 48: "severity", 49: "text", 50: "source_file", 51: "source_line",
         52: "link_count", 53: "status", 54: "role", 55: "up", 56: "down", 57: "down_count", 58: "octets_reverse",
         60: "connector", 61: "process_latency", 62: "proxy_host", 63: "proxy_port", 64: "listener_error",
         65: "connector_error", 66: "ordinal", 67: "http_proxy"}


class Collector:
    """Listens at one router for the beacons of all, and for the records of each router it hears of."""

    def __init__(self, port):
        self.peer = Peer(connect(port), container="collector").handshake()
        self.peer.socket.settimeout(None)
        self.lock = threading.Lock()
        self.sources, self.heartbeats, self.beacons = {}, {}, {}
        self.records, self.kinds, self.messages, self.faults, self.sizes = {}, {}, {}, [], []
        self._handles, self._senders, self._number, self._waiting = 0, {}, 0, {}
        self.peer.send(BEGIN, None, UInt(0), WINDOW, WINDOW)
        self.peer.expect(BEGIN)
        self._receive("mc/sfe.all")
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.peer.socket.shutdown(socket.SHUT_RDWR)
        self.peer.socket.close()
        self.thread.join(10)

    def find(self, kind, **wanted):
        """The records of a kind whose attributes have these values."""
        with self.lock:
            return [dict(record) for identity, record in self.records.items() if self.kinds[identity] == kind
                    and all(record.get(name) == value for name, value in wanted.items())]

    def is_told(self, source):
        """Whether a router has answered with all of its records."""
        return any("name" in router for router in self.find("ROUTER", id=source))

    def await_heartbeats(self, count=2):
        """Until each router known has sent so many more: what was due by now has been sent, to whoever it was for."""
        seen = {source: len(self.heartbeats.get(source, [])) for source in list(self.sources)}
        wait_until(f"{count} more heartbeats of {sorted(seen)}", lambda: all(
            len(self.heartbeats.get(source, [])) >= before + count for source, before in seen.items()), 15)

    # --- links ---

    def _receive(self, address):
        handle, self._handles = self._handles, self._handles + 1
        self.peer.send(ATTACH, f"in-{address}", UInt(handle), True, UByte(1), UByte(0),
                       Described(ULong(0x28), [address]), Described(ULong(0x29), []))
        self.peer.send(FLOW, UInt(0), WINDOW, UInt(0), WINDOW, UInt(handle), UInt(0), UInt(100_000))

    def _send_to(self, address):
        handle, self._handles = self._handles, self._handles + 1
        self._senders[address] = handle
        self.peer.send(ATTACH, f"out-{address}", UInt(handle), False, UByte(1), UByte(0),
                       Described(ULong(0x28), []), Described(ULong(0x29), [address]), None, None, UInt(0))
        self._waiting[handle] = address

    def flush(self, address):
        body = b"".join([
            encode(Described(ULong(PROPERTIES), [None, None, address, "FLUSH"])),
            encode(Described(ULong(AMQP_VALUE), None))])
        number, self._number = self._number, self._number + 1
        self.peer.send(TRANSFER, UInt(self._senders[address]), UInt(number), number.to_bytes(4, "big"), UInt(0), True,
                       False, payload=body)

    # --- messages ---

    def _run(self):
        message = b""
        try:
            while True:
                code, fields, payload = self.peer.next_of(TRANSFER, FLOW)
                if code == FLOW:
                    handle = fields[4] if len(fields) > 4 else None
                    if handle in self._waiting and len(fields) > 6 and fields[6]:
                        self.flush(self._waiting.pop(handle))
                    continue
                message += payload
                if len(fields) > 5 and fields[5]:
                    continue
                sections, at = {}, 0
                while at < len(message):
                    section, at = decode(message, at)
                    sections[section.descriptor] = section.value
                self.sizes.append(len(message))
                message = b""
                self._take(sections)
        except (PeerClosed, OSError, ValueError):
            return

    def _take(self, sections):
        properties = sections[PROPERTIES]
        to, subject = properties[2], properties[3]
        self.messages[(to, subject)] = self.messages.get((to, subject), 0) + 1
        values = sections.get(APPLICATION_PROPERTIES, {})
        if subject == "BEACON":
            self.beacons[values["id"]] = dict(values)
            if values["id"] not in self.sources:
                self.sources[values["id"]] = values
                for kind in ("", ".flows", ".logs"):
                    self._receive(values["address"] + kind)
                self._send_to(values["direct"])
        elif subject == "HEARTBEAT":
            self.heartbeats.setdefault(values["id"], []).append(values["now"])
            # A sign of life: routers close connections that stay silent for long.
            self.peer.socket.sendall(frame(b""))
            source = self.sources.get(values["id"])
            # A router that did not know yet that somebody reads its records has answered to nobody: ask again.
            if source and not self.is_told(values["id"]) and self._senders[source["direct"]] not in self._waiting:
                self.flush(source["direct"])
        elif subject == "RECORD":
            records = sections[AMQP_VALUE]
            if len(records) > 50:
                self.faults.append(f"{len(records)} records in one message")
            for record in records:
                self._record(record)

    def _record(self, record):
        # Collectors of others drop what has other types.
        for key, value in record.items():
            if not isinstance(key, UInt):
                self.faults.append(f"key {key!r} is no uint")
            if key == 0:
                if not isinstance(value, UInt):
                    self.faults.append(f"record type {value!r} is no uint")
            elif not (isinstance(value, (str, ULong)) and not isinstance(value, Symbol)):
                self.faults.append(f"attribute {key} = {value!r} is neither string nor ulong")
            if key not in (0, 1) and key not in NAMES:
                self.faults.append(f"unknown attribute {key}")
        with self.lock:
            identity = record[1]
            known = self.records.setdefault(identity, {"id": identity})
            self.kinds[identity] = KINDS[record[0]]
            known.update({NAMES[key]: value for key, value in record.items() if key in NAMES})
