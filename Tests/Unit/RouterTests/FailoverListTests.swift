import AMQPCodec
import RouterConfig
import Testing

@testable import Router

/// Where a connector dials next.
@Suite struct FailoverListTests {
    private static func place(_ host: String, _ port: String = "5672", scheme: String? = "amqp") -> FailoverAddress {
        FailoverAddress(scheme: scheme, host: host, port: port)
    }

    private static func fail(_ list: inout FailoverList, _ count: Int) -> [String] {
        (0..<count).map { _ in
            _ = list.failed()
            return list.current.host
        }
    }

    @Test func aloneItStaysWhereItIs() {
        var list = FailoverList(own: Self.place("a"))
        let moved = list.failed() || list.failed() || list.failed()
        #expect(!moved)
        #expect(list.text == "amqp://a:5672")
    }

    @Test func eachPlaceIsTriedTwice() {
        var list = FailoverList(own: Self.place("a"))
        list.learn([Self.place("b"), Self.place("c", "5671", scheme: "amqps")])
        #expect(list.text == "amqp://a:5672, amqp://b:5672, amqps://c:5671")
        let hosts = Self.fail(&list, 7)
        #expect(hosts == ["a", "b", "b", "c", "c", "a", "a"])
    }

    @Test func anOpenedConnectionCountsFromTheBeginning() {
        var list = FailoverList(own: Self.place("a"))
        list.learn([Self.place("b")])
        #expect(Self.fail(&list, 1) == ["a"])
        list.opened()
        let hosts = Self.fail(&list, 2)
        #expect(hosts == ["a", "b"])
    }

    /// The connector's own place and the one in use stay, whatever a peer names.
    @Test func aNewListStandsInsteadOfTheOld() {
        var list = FailoverList(own: Self.place("a"))
        list.learn([Self.place("b"), Self.place("c")])
        _ = Self.fail(&list, 4)
        #expect(list.text == "amqp://c:5672, amqp://a:5672, amqp://b:5672")
        list.learn([])
        #expect(list.text == "amqp://c:5672, amqp://a:5672")
        list.learn([Self.place("a"), Self.place("c"), Self.place("d")])
        #expect(list.text == "amqp://c:5672, amqp://d:5672, amqp://a:5672")
        _ = Self.fail(&list, 4)
        #expect(list.current.host == "a")
        list.learn([Self.place("a"), Self.place("e"), Self.place("e")])
        #expect(list.text == "amqp://a:5672, amqp://e:5672")
    }

    @Test func aLongListIsCutShort() {
        var list = FailoverList(own: Self.place("a"))
        list.learn((0..<1000).map { Self.place("h\($0)") })
        #expect(list.places.count == FailoverList.maximum)
    }

    // MARK: On the wire

    @Test func whatIsSentIsRead() throws {
        let places = try FailoverAddress.list("amqp://b:5000, [::1], amqps://c")
        let value = AMQPValue.list(places.map(\.amqp))
        let read = FailoverAddress.read(value)
        #expect(read?.map(\.url) == ["amqp://b:5000", "amqp://[::1]:5672", "amqps://c:5671"])
        // skrouterd leaves a scheme out where none was given.
        guard case .map(let entries) = places[1].amqp else {
            Issue.record("no map")
            return
        }
        #expect(entries.map(\.key) == [.symbol("network-host"), .symbol("port")])
    }

    @Test func nothingSaidIsNotAnEmptyList() {
        #expect(FailoverAddress.read(nil) == nil)
        #expect(FailoverAddress.read(.string("b:5000")) == nil)
        #expect(FailoverAddress.read(.list([])) == [])
    }

    @Test func whatCannotBeDialledIsPassedOver() {
        func entry(_ fields: (String, AMQPValue)...) -> AMQPValue {
            .map(fields.map { MapEntry(symbol: $0.0, $0.1) })
        }
        let read = FailoverAddress.read(
            .list([
                .null, entry(("port", .string("5000"))), entry(("network-host", .string(""))),
                entry(("network-host", .string("a b"))), entry(("network-host", .string("x")), ("port", .int(0))),
                entry(("network-host", .string("x")), ("port", .int(70_000))),
                entry(("network-host", .string(String(repeating: "h", count: 256)))),
                entry(("network-host", .string("good")), ("port", .ushort(5000)), ("scheme", .string("ftp"))),
            ]))
        #expect(read?.map(\.url) == ["amqp://good:5000"])
    }
}
