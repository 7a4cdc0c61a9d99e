import AMQPCodec

@testable import LinkStateRouting

/// A network of routing machines in virtual time. Links carry the real octets of messages, in order, with seeded
/// delays; forwarding between routers follows the routes the machines publish, as a forwarder would.
struct World {
    struct Link {
        let ends: [Int]
        var costs: [Int]
        var isUp = false
        /// Grows when the link goes down; what was under way is lost.
        var epoch = 0
        /// Direction 0 is from `ends[0]`; a clogged direction holds its messages back.
        var clogged = [false, false]
        var held: [[Message]] = [[], []]
        var lastArrival: [Int64] = [0, 0]
        let delay: ClosedRange<Int64>
    }

    struct Router {
        let id: String
        var instance: Int64 = 1000
        var machine: RoutingMachine
        var local: Set<String> = []
        var published: [RouteEntry] = []
        /// What its forwarder works with, from the last time that it was told of a change.
        var table = Table()
    }

    struct Table {
        var routes: [RouteEntry] = []
        /// Way to each router by its number; -1 where there is none.
        var slots: [Int] = []
        var neighbourSlots: [Int] = []
        var radius = 0
    }

    /// What a router sends: its octets, and what the codec reads in them, read once however many routers get it.
    final class Packet {
        let octets: [UInt8]
        let opcode: String
        let decoded: DecodedMessage?
        let origin: String
        let isHello: Bool
        let isFlood: Bool
        /// The router it is for, nil if it is for all or for the other end of the link.
        let destination: String?

        init(_ message: RoutingMessage, from id: String) {
            octets = message.encode(selfID: id)
            opcode = message.opcode
            decoded = try? codecMessage(octets)
            let to = decoded?.to ?? ""
            origin = String((decoded?.ingress ?? "").dropFirst(2))
            isHello = to == RoutingMessage.helloAddress
            isFlood = to.hasPrefix("amqp:/_topo/0/all/") || to.hasPrefix("_topo/0/all/")
            destination = isHello || isFlood ? nil : String(to.split(separator: "/")[3])
        }
    }

    /// A message on a link. The trace stands for the annotations, which routers on the way extend.
    struct Message {
        let packet: Packet
        var trace: [Int]
    }

    /// What crossed links.
    struct Traffic {
        var messages = 0
        var octets = 0

        mutating func add(octets count: Int) {
            messages += 1
            octets += count
        }
    }

    enum Happening {
        case tick(router: Int, instance: Int64)
        case wake(router: Int, instance: Int64)
        case arrival(link: Int, direction: Int, epoch: Int, Message)
        case attached(link: Int, end: Int, epoch: Int)
    }

    private(set) var now: Int64 = 0
    private(set) var routers: [Router] = []
    private(set) var links: [Link] = []
    private var numbers: [String: Int] = [:]
    private(set) var traceHash: UInt64 = 0xCBF2_9CE4_8422_2325
    private(set) var messagesCarried = 0
    /// By opcode, since `resetTraffic`. Octets are those of the messages: frames and transport come on top.
    private(set) var traffic: [String: Traffic] = [:]
    /// Compare what is published around every event and hash all that happens; for small networks.
    private let watchesAnnouncements: Bool
    private var truth: [String: [String: Int]]?
    private var distance: [String: [String: Int]] = [:]
    /// Broken invariants, with the time they were seen at.
    private(set) var faults: [String] = []
    var random: SeededGenerator
    let timers: RoutingTimers

    /// Happenings of one millisecond stand in the order they were planned.
    private var agenda: [Int64: [Happening]] = [:]

    init(
        seed: UInt64, routerCount: Int, edges: [(Int, Int, Int)], delay: ClosedRange<Int64> = 1...10,
        timers: RoutingTimers = RoutingTimers(), watchesAnnouncements: Bool = true
    ) {
        random = SeededGenerator(seed: seed)
        self.watchesAnnouncements = watchesAnnouncements
        self.timers = timers
        for index in 0..<routerCount {
            let id = "R\(Character(UnicodeScalar(UInt8(65 + (index * 7) % 26))))\(index)"
            numbers[id] = index
            routers.append(Router(id: id, machine: RoutingMachine(id: id, instance: 1000, timers: timers)))
            plan(.tick(router: index, instance: 1000), in: Int64(random.below(1000)))
        }
        for (left, right, cost) in edges {
            let low = delay.lowerBound + Int64(random.below(Int(delay.upperBound - delay.lowerBound + 1)))
            links.append(Link(ends: [left, right], costs: [cost, cost], delay: low...delay.upperBound))
        }
    }

    // MARK: - What happens to the network

    mutating func raise(_ link: Int) {
        guard !links[link].isUp else { return }
        truth = nil
        links[link].isUp = true
        links[link].clogged = [false, false]
        for end in 0...1 {
            plan(.attached(link: link, end: end, epoch: links[link].epoch), in: Int64(random.below(5)))
        }
    }

    mutating func cut(_ link: Int) {
        guard links[link].isUp else { return }
        truth = nil
        links[link].isUp = false
        links[link].epoch += 1
        links[link].held = [[], []]
        for end in 0...1 { feed(links[link].ends[end], .neighbourDisconnected(slot: link)) }
    }

    mutating func clog(_ link: Int, direction: Int) {
        links[link].clogged[direction] = true
    }

    mutating func unclog(_ link: Int) {
        for direction in 0...1 where links[link].clogged[direction] {
            links[link].clogged[direction] = false
            let held = links[link].held[direction]
            links[link].held[direction] = []
            for message in held { carry(message, link: link, direction: direction) }
        }
    }

    mutating func setCost(_ link: Int, _ cost: Int) {
        truth = nil
        links[link].costs = [cost, cost]
        for end in 0...1 where links[link].isUp {
            feed(links[link].ends[end], .costChanged(slot: link, cost: cost))
        }
    }

    mutating func restart(_ router: Int) {
        let lost = links.indices.filter { links[$0].isUp && links[$0].ends.contains(router) }
        for link in lost { cut(link) }
        let instance = routers[router].instance + 1
        routers[router].instance = instance
        routers[router].published = []
        routers[router].table = Table()
        routers[router].machine = RoutingMachine(id: routers[router].id, instance: instance, timers: timers)
        plan(.tick(router: router, instance: instance), in: Int64(random.below(1000)))
        for key in routers[router].local.sorted() {
            feed(router, .localAddressAdded(key: key, treatment: 3, producers: 0))
        }
        for link in lost { raise(link) }
    }

    mutating func offer(_ router: Int, _ key: String) {
        routers[router].local.insert(key)
        feed(router, .localAddressAdded(key: key, treatment: 3, producers: 0))
    }

    mutating func withdraw(_ router: Int, _ key: String) {
        routers[router].local.remove(key)
        feed(router, .localAddressRemoved(key: key))
    }

    mutating func heal() {
        for link in links.indices {
            unclog(link)
            raise(link)
        }
    }

    mutating func run(for milliseconds: Int64) {
        let end = now + milliseconds
        while now < end {
            now += 1
            for happening in agenda.removeValue(forKey: now) ?? [] { happen(happening) }
        }
    }

    /// Runs until the network agrees, looking every so many milliseconds; the time it took, nil if `limit` passed.
    mutating func runUntilConverged(limit: Int64, every: Int64 = 10) -> Int64? {
        let start = now
        while now - start < limit {
            if disagreement() == nil { return now - start }
            run(for: every)
        }
        return disagreement() == nil ? now - start : nil
    }

    // MARK: - What must hold

    /// First difference between what routers hold and the truth; nil if all agree.
    mutating func disagreement() -> String? {
        if truth == nil {
            var states = Dictionary(uniqueKeysWithValues: routers.map { ($0.id, [String: Int]()) })
            for link in links where link.isUp {
                let (left, right) = (routers[link.ends[0]].id, routers[link.ends[1]].id)
                states[left]?[right] = link.costs[0]
                states[right]?[left] = link.costs[1]
            }
            truth = states
            distance = floydWarshall(states)
        }
        return difference(from: truth ?? [:])
    }

    private func difference(from truth: [String: [String: Int]]) -> String? {
        for router in routers {
            guard router.machine.ownPeers == truth[router.id] else { return "\(router.id): own link state" }
            let reachable = distance[router.id] ?? [:]
            let routes = Dictionary(uniqueKeysWithValues: router.machine.routes.map { ($0.id, $0) })
            guard routes.count == reachable.count - 1 else { return "\(router.id): reaches \(routes.keys.sorted())" }
            for other in routers where other.id != router.id && reachable[other.id] != nil {
                guard let route = routes[other.id] else { return "\(router.id): no \(other.id)" }
                let hop = route.nextHopID ?? other.id
                if (truth[router.id]?[hop] ?? -1) + (distance[hop]?[other.id] ?? -1) != route.cost {
                    return "\(router.id): \(hop) is no shortest way to \(other.id)"
                }
                if route.peers != truth[other.id] { return "\(router.id): link state of \(other.id)" }
                if route.cost != reachable[other.id] { return "\(router.id): cost to \(other.id)" }
                let isComplete = other.local.allSatisfy { route.addresses[$0] != nil }
                if route.addresses.count != other.local.count || !isComplete {
                    return "\(router.id): addresses of \(other.id)"
                }
                if route.instance != other.instance { return "\(router.id): instance of \(other.id)" }
            }
        }
        return nil
    }

    // MARK: - Machinery

    private mutating func plan(_ happening: Happening, in milliseconds: Int64) {
        agenda[now + max(1, milliseconds), default: []].append(happening)
    }

    private mutating func note(_ octets: some Sequence<UInt8>) {
        for octet in octets { traceHash = (traceHash ^ UInt64(octet)) &* 0x100_0000_01B3 }
    }

    /// The effect in octets. Reflection would do the same, many times slower.
    private mutating func note(_ effect: RoutingEffect, _ id: String) {
        switch effect {
        case .sendToNeighbour(let slot, let message): note("n\(slot)".utf8.map { $0 } + message.encode(selfID: id))
        case .sendToRouter(let to, let message): note("r\(to)".utf8.map { $0 } + message.encode(selfID: id))
        case .flood(let message): note(message.encode(selfID: id))
        case .routesChanged: note("c".utf8)
        case .neighbourUp(let peer, let slot, let cost): note("u\(peer) \(slot) \(cost)".utf8)
        case .neighbourLost(let peer, let slot, let reason): note("l\(peer) \(slot) \(reason)".utf8)
        case .wakeAfter(let milliseconds): note("w\(milliseconds)".utf8)
        case .log(_, let text): note(text.utf8)
        }
    }

    private mutating func happen(_ happening: Happening) {
        switch happening {
        case .tick(let router, let instance):
            guard routers[router].instance == instance else { return }
            plan(happening, in: timers.helloIntervalMilliseconds)
            feed(router, .tick)
        case .wake(let router, let instance):
            if routers[router].instance == instance { feed(router, .wake) }
        case .attached(let link, let end, let epoch):
            guard links[link].epoch == epoch, links[link].isUp else { return }
            feed(links[link].ends[end], .neighbourConnected(slot: link, cost: links[link].costs[end]))
        case .arrival(let link, let direction, let epoch, let message):
            guard links[link].epoch == epoch else { return }
            arrive(message, at: links[link].ends[1 - direction], link: link)
        }
    }

    private mutating func feed(_ router: Int, _ event: RoutingEvent) {
        let effects = routers[router].machine.handle(event, now: now)
        guard watchesAnnouncements else {
            for effect in effects { perform(effect, router: router) }
            return
        }
        note("\(now) \(routers[router].id)".utf8)
        let routes = published(router)
        defer { routers[router].published = routes }
        if routers[router].published != routes, effects.first != .routesChanged {
            faults.append("\(now) \(routers[router].id): routes changed without a word after \(event)")
        }
        for effect in effects { perform(effect, router: router) }
        let machine = routers[router].machine
        if machine.wishers != machine.sortedRemotes.filter({ machine.remotes[$0]?.hasWish == true }) {
            faults.append("\(now) \(routers[router].id): a wish was forgotten or kept after \(event)")
        }
    }

    /// What a forwarder works with; link states are published with the next path computation, numbers never matter.
    private func published(_ router: Int) -> [RouteEntry] {
        routers[router].machine.routes.map {
            var route = $0
            route.linkStateSequence = 0
            route.mobileSequence = 0
            route.peers = [:]
            return route
        }
    }

    private mutating func perform(_ effect: RoutingEffect, router: Int) {
        let id = routers[router].id
        if watchesAnnouncements { note(effect, id) }
        switch effect {
        case .sendToNeighbour(let slot, let message):
            send(Message(packet: Packet(message, from: id), trace: [router]), from: router, link: slot)
        case .sendToRouter(let destination, let message):
            forward(Message(packet: Packet(message, from: id), trace: [router]), from: router, to: destination)
        case .flood(let message):
            spread(Message(packet: Packet(message, from: id), trace: []), from: router, arrival: nil)
        case .wakeAfter(let milliseconds):
            if milliseconds < 1 { faults.append("\(now) \(id): wake after \(milliseconds) ms") }
            plan(.wake(router: router, instance: routers[router].instance), in: milliseconds)
        case .log(_, let text):
            if text.contains("not used"), !text.contains("earlier run"), !text.contains("not known yet") {
                faults.append("\(now) \(id): \(text)")
            }
        case .routesChanged: routers[router].table = table(of: routers[router].machine)
        case .neighbourUp, .neighbourLost: break
        }
    }

    private func table(of machine: RoutingMachine) -> Table {
        let nodes = machine.nodes
        var table = Table(
            routes: nodes.filter(\.isReachable), neighbourSlots: nodes.compactMap(\.neighbourSlot),
            radius: machine.radius)
        table.slots = Array(repeating: -1, count: routers.count)
        for route in table.routes {
            if let number = numbers[route.id] { table.slots[number] = route.slot ?? -1 }
        }
        return table
    }

    mutating func resetTraffic() { traffic = [:] }

    private mutating func send(_ message: Message, from router: Int, link: Int) {
        guard links.indices.contains(link), links[link].isUp else { return }
        let direction = links[link].ends[0] == router ? 0 : 1
        if links[link].clogged[direction] {
            links[link].held[direction].append(message)
        } else {
            carry(message, link: link, direction: direction)
        }
    }

    private mutating func carry(_ message: Message, link: Int, direction: Int) {
        messagesCarried += 1
        traffic[message.packet.opcode, default: Traffic()].add(octets: message.packet.octets.count)
        let delay = Int64.random(in: links[link].delay, using: &random)
        let time = max(now + delay, links[link].lastArrival[direction])
        links[link].lastArrival[direction] = time
        let epoch = links[link].epoch
        plan(.arrival(link: link, direction: direction, epoch: epoch, message), in: time - now)
    }

    private mutating func forward(_ message: Message, from router: Int, to destination: String) {
        guard let number = numbers[destination], routers[router].table.slots.indices.contains(number),
            routers[router].table.slots[number] >= 0
        else { return }
        send(message, from: router, link: routers[router].table.slots[number])
    }

    /// What a router's forwarder does with floods: its own to every neighbour, others' as the machine says.
    private mutating func spread(_ message: Message, from router: Int, arrival: Int?) {
        var next = message
        next.trace.append(router)
        let chosen =
            arrival.map { link in
                routers[router].machine.relaySlots(
                    content: message.packet.octets, from: link, trace: message.trace.map { routers[$0].id }, now: now)
            } ?? routers[router].table.neighbourSlots
        for slot in chosen.sorted() { send(next, from: router, link: slot) }
    }

    private mutating func arrive(_ message: Message, at router: Int, link: Int) {
        let packet = message.packet
        guard let decoded = packet.decoded else {
            faults.append("\(now): undecodable message")
            return
        }
        let id = routers[router].id
        let event = RoutingEvent.messageReceived(
            slot: link, opcode: decoded.opcode, body: decoded.body, ingress: decoded.ingress)
        if packet.isHello {
            feed(router, event)
        } else if packet.isFlood {
            guard packet.origin != id else { return }
            feed(router, event)
            spread(message, from: router, arrival: link)
        } else if let destination = packet.destination {
            guard destination != id else { return feed(router, event) }
            guard !message.trace.contains(router), message.trace.count < 64 else { return }
            var next = message
            next.trace.append(router)
            forward(next, from: router, to: destination)
        }
    }
}
