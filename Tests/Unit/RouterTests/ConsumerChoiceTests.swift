import Testing

@testable import Router

/// How a balanced address spreads what is held open: see ``ConsumerChoice``.
struct ConsumerChoiceTests {
    private static let cost = 300

    private let local = TCPConnectorTarget(
        name: "here", address: "x", host: "127.0.0.1", port: 1, processID: nil, tls: nil, verifyHostname: false,
        loops: 1)

    private func remote(_ slot: Int, cost: Int, capacity: Int? = nil) -> RemoteConsumer {
        RemoteConsumer(
            route: RemoteRoute(id: "R\(slot)", slot: slot, cost: cost, validOrigins: [], capacity: capacity),
            load: LoadCounter())
    }

    private func entry(_ connectors: [TCPConnectorTarget], _ remotes: [RemoteConsumer]) -> AddressEntry {
        AddressEntry(
            key: "Mx", treatment: .balanced, inProcess: false, connectors: connectors, consumers: [], remotes: remotes,
            traffic: AddressTraffic())
    }

    /// The slot of the remote router that is chosen; nil = the connector here.
    private func chosen(_ entry: AddressEntry, turn: Int) throws -> Int? {
        switch ConsumerChoice.pick(entry, origin: nil, turn: turn) {
        case .connector: return nil
        case .remote(let route, _): return route.slot
        default: throw Unexpected()
        }
    }

    private struct Unexpected: Error {}

    /// Opens `count` streams one after another and holds them.
    private func hold(_ count: Int, _ entry: AddressEntry) throws {
        for turn in 0..<count {
            switch ConsumerChoice.pick(entry, origin: nil, turn: turn) {
            case .connector(let target): target.load.increment()
            case .remote(_, let load): load?.increment()
            default: throw Unexpected()
            }
        }
    }

    @Test func localServerIsUsedUpToTheCostOfTheOther() throws {
        let entry = entry([local], [remote(7, cost: Self.cost)])
        for open in 0...1000 {
            let slots = Set(try (0..<8).map { try chosen(entry, turn: $0) })
            let expected: Set<Int?> = open < Self.cost ? [nil] : open > Self.cost ? [7] : [nil, 7]
            #expect(slots == expected, "\(open) open here")
            local.load.increment()
        }
    }

    @Test func differenceOfWhatIsHeldIsTheCost() throws {
        let remote = remote(7, cost: Self.cost)
        let entry = entry([local], [remote])
        for total in 1...2000 {
            try hold(1, entry)
            let difference = local.load.value - remote.load.value
            #expect(difference == min(total, Self.cost) || abs(difference - Self.cost) <= 1, "\(total) held")
        }
        #expect(local.load.value + remote.load.value == 2000)
    }

    /// Two remote servers, the second of which costs more by `cost` - 1; held streams, then what each has.
    @Test(arguments: [
        (cost: 60, total: 400, near: 229, far: 171), (cost: 60, total: 500, near: 279, far: 221),
        (cost: 60, total: 600, near: 329, far: 271), (cost: 50, total: 450, near: 249, far: 201),
        (cost: 50, total: 490, near: 269, far: 221),
    ])
    func numbersBeyond250AreNothingSpecial(cost: Int, total: Int, near: Int, far: Int) throws {
        let remotes = [remote(0, cost: 1), remote(1, cost: cost)]
        try hold(total, entry([], remotes))
        #expect(abs(remotes[0].load.value - near) <= 1 && abs(remotes[1].load.value - far) <= 1)
    }

    /// What skupper-router does with its capacity of 250, as users of it have measured.
    @Test(arguments: [
        (cost: 50, total: 100, near: 75, far: 25), (cost: 50, total: 400, near: 225, far: 175),
        (cost: 50, total: 450, near: 250, far: 200), (cost: 50, total: 490, near: 250, far: 240),
        (cost: 50, total: 500, near: 250, far: 250), (cost: 50, total: 550, near: 300, far: 250),
        (cost: 50, total: 600, near: 325, far: 275), (cost: 60, total: 500, near: 250, far: 250),
        (cost: 60, total: 1000, near: 530, far: 470),
    ])
    func capacityThatWasGivenComesBeforeTheCost(cost: Int, total: Int, near: Int, far: Int) throws {
        let remotes = [remote(0, cost: 1, capacity: 250), remote(1, cost: cost, capacity: 250)]
        try hold(total, entry([], remotes))
        #expect(abs(remotes[0].load.value - near) <= 1 && abs(remotes[1].load.value - far) <= 1)
    }

    @Test func fullLinkIsUsedAgainWhenNothingElseIsThere() throws {
        let only = remote(3, cost: 1, capacity: 10)
        try hold(50, entry([], [only]))
        #expect(only.load.value == 50)
        // A server here is preferred to it, however much it has.
        try hold(500, entry([local], [only]))
        #expect(local.load.value == 500)
        #expect(only.load.value == 50)
    }
}
