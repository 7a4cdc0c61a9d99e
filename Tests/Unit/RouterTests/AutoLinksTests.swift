import Testing

@testable import Router

/// Links towards containers: what is attached on which connection, and when again.
@Suite struct AutoLinksTests {
    private final class Numbers {
        var last: UInt64 = 0
        func next() -> UInt64 {
            last += 1
            return last
        }
    }

    private static func make() -> AutoLinks {
        let numbers = Numbers()
        return AutoLinks { numbers.next() }
    }

    private static func rule(
        _ id: String, _ direction: AutoLinks.Direction = .incoming, container: String? = nil, connection: String? = nil
    ) -> AutoLinks.Rule {
        AutoLinks.Rule(
            id: id, direction: direction, address: "a", externalAddress: nil, container: container,
            connection: connection)
    }

    private static func ref(_ id: UInt64) -> ConnectionRef { ConnectionRef(worker: 0, id: id) }
    private static let broker = AutoLinks.Peer(container: "broker", entity: "out")

    /// What is attached, as connection and number.
    private static func attaches(_ effects: [AutoLinks.Effect]) -> [[UInt64]] {
        effects.compactMap { if case .attach(_, let ref, let number) = $0 { [ref.id, number] } else { nil } }
    }

    @Test func itComesUpOnTheConnectionsThatItNames() {
        var links = Self.make()
        _ = links.add(Self.rule("one", connection: "out"))
        _ = links.add(Self.rule("two", .outgoing, container: "broker"))
        _ = links.add(Self.rule("other", container: "another"))
        _ = links.add(Self.rule("nowhere"))
        #expect(links.status(of: "one") == .inactive)
        let effects = links.opened(Self.ref(7), Self.broker)
        #expect(Self.attaches(effects) == [[7, 1], [7, 2]])
        #expect(links.status(of: "one") == .attaching)
        links.attached(1, identity: "7:0:0")
        #expect(links.status(of: "one") == .active)
        #expect(links.linkIdentity(of: "one") == "7:0:0")
        #expect(links.status(of: "other") == .inactive)
        #expect(links.status(of: "nowhere") == .inactive)
        links.closed(Self.ref(7))
        #expect(links.status(of: "one") == .inactive)
        #expect(links.linkIdentity(of: "one") == nil)
    }

    @Test func oneForEachConnectionOfAListener() {
        var links = Self.make()
        _ = links.opened(Self.ref(1), Self.broker)
        _ = links.opened(Self.ref(2), AutoLinks.Peer(container: "second", entity: "out"))
        let made = links.add(Self.rule("both", connection: "out"))
        #expect(Self.attaches(made) == [[1, 1], [2, 2]])
        links.attached(1, identity: "1:0:0")
        _ = links.detached(2, error: "no", now: 0)
        #expect(links.status(of: "both") == .active)
        links.closed(Self.ref(1))
        #expect(links.status(of: "both") == .failed)
    }

    @Test func aRefusedLinkIsTriedAgainAndLessOftenThen() {
        var links = Self.make()
        _ = links.add(Self.rule("one", connection: "out"))
        _ = links.opened(Self.ref(1), Self.broker)
        _ = links.detached(1, error: "Node not found", now: 100)
        #expect(links.status(of: "one") == .failed)
        #expect(links.lastError(of: "one") == "Node not found")
        let early = links.tick(now: 2099)
        #expect(early.isEmpty)
        let second = links.tick(now: 2100)
        #expect(Self.attaches(second) == [[1, 2]])
        #expect(links.status(of: "one") == .attaching)
        _ = links.detached(2, error: nil, now: 3000)
        let tooEarly = links.tick(now: 7999)
        #expect(tooEarly.isEmpty)
        let third = links.tick(now: 8000)
        #expect(Self.attaches(third) == [[1, 3]])
        links.attached(3, identity: "1:0:3")
        _ = links.detached(3, error: "gone", now: 9000)
        let afterSuccess = links.tick(now: 11_000)
        #expect(Self.attaches(afterSuccess) == [[1, 4]])
    }

    @Test func whatIsLateOrUnknownChangesNothing() {
        var links = Self.make()
        _ = links.add(Self.rule("one", connection: "out"))
        _ = links.opened(Self.ref(1), Self.broker)
        links.closed(Self.ref(1))
        links.attached(1, identity: "1:0:0")
        let late = links.detached(1, error: "late", now: 0)
        #expect(late.isEmpty)
        #expect(links.status(of: "one") == .inactive)
        #expect(links.lastError(of: "one") == nil)
        let never = links.tick(now: .max - 1)
        #expect(never.isEmpty)
    }

    @Test func aDeletedRuleTakesItsLinksAlong() {
        var links = Self.make()
        _ = links.add(Self.rule("one", connection: "out"))
        _ = links.add(Self.rule("waits", connection: "out"))
        _ = links.opened(Self.ref(1), Self.broker)
        _ = links.detached(2, error: "no", now: 0)
        let gone = links.remove("one")
        #expect(gone.contains(.detach(Self.ref(1), number: 1)))
        let waiting = links.remove("waits")
        #expect(waiting.isEmpty)
        let late = links.tick(now: 10_000)
        #expect(late.isEmpty)
        #expect(links.rules.isEmpty)
    }
}
