import Testing
import Threading

@testable import Router

/// Names of hosts are looked up without holding up who asks. One after the other: they share a number of threads.
@Suite(.serialized) struct HostLookupTests {
    private let here = ["192.0.2.1", "2001:db8::1"].compactMap { SocketAddress(literal: $0, port: 0) }

    @Test func answersOfTheSystemArePassedOn() {
        let lookup = HostLookup(patience: 10_000) { [here] in $0 == "here" ? here : [] }
        #expect(here.count == 2 && lookup.addresses(of: "here") == here)
        #expect(lookup.numbers(of: "here") == ["192.0.2.1", "2001:db8::1"].map { HostNumber(literal: $0) })
        #expect(lookup.addresses(of: "nowhere").isEmpty)
        #expect(lookup.addresses(of: "").isEmpty)
        #expect(lookup.unanswered.isEmpty && lookup.complaint == nil)
    }

    @Test func theSystemKnowsThisHost() {
        let lookup = HostLookup(patience: 10_000)
        #expect(lookup.numbers(of: "localhost").contains { $0 == HostNumber(literal: "127.0.0.1") })
    }

    /// A name server that does not answer: the names share the patience, and later ones are not asked for.
    @Test func nobodyWaitsForLong() {
        let asked = Locked<[String]>([])
        let release = Handover<Bool>()
        let lookup = HostLookup(patience: 30) { name in
            asked.withLock { $0.append(name) }
            _ = release.wait(milliseconds: 60_000)
            return []
        }
        #expect(lookup.addresses(of: "first").isEmpty)
        #expect(lookup.addresses(of: "second").isEmpty)
        #expect(lookup.unanswered == ["first", "second"])
        #expect(lookup.complaint?.contains("first, second") == true)
        #expect(asked.withLock { $0 } == ["first"])
        release.give(true)
    }

    @Test func threadsAreBounded() {
        let most = HostLookup.threadMaximum
        let asked = Locked(0)
        let release = Handover<Bool>()
        let lookups = (0..<most + 2).map { _ in
            HostLookup(patience: 100) { _ in
                asked.withLock { $0 += 1 }
                _ = release.wait(milliseconds: 60_000)
                return []
            }
        }
        for lookup in lookups { #expect(lookup.addresses(of: "name").isEmpty) }
        #expect(lookups.allSatisfy { $0.unanswered == ["name"] })
        #expect(asked.withLock { $0 } <= most)
        release.give(true)
    }
}
