import Synchronization

/// Deliveries of one address since it exists, over all loops. Each is counted once, when its way is chosen.
final class AddressTraffic: Sendable {
    /// From producers attached here.
    private let ingress = Atomic<Int>(0)
    /// To consumers attached here.
    private let egress = Atomic<Int>(0)
    /// On to other routers.
    private let transit = Atomic<Int>(0)
    /// To the router itself.
    private let toContainer = Atomic<Int>(0)
    /// From the router itself.
    private let fromContainer = Atomic<Int>(0)

    /// From and to route containers.
    private let containerIngress = Atomic<Int>(0)
    private let containerEgress = Atomic<Int>(0)
    /// From and to other networks.
    private let networkIngress = Atomic<Int>(0)
    private let networkEgress = Atomic<Int>(0)

    func countIngress() { ingress.wrappingAdd(1, ordering: .relaxed) }
    func countEgress() { egress.wrappingAdd(1, ordering: .relaxed) }
    func countTransit() { transit.wrappingAdd(1, ordering: .relaxed) }
    func countToContainer() { toContainer.wrappingAdd(1, ordering: .relaxed) }
    func countFromContainer() { fromContainer.wrappingAdd(1, ordering: .relaxed) }

    func countIngress(from outside: Outside) {
        switch outside {
        case .container: containerIngress.wrappingAdd(1, ordering: .relaxed)
        case .network: networkIngress.wrappingAdd(1, ordering: .relaxed)
        }
    }

    func countEgress(to outside: Outside) {
        switch outside {
        case .container: containerEgress.wrappingAdd(1, ordering: .relaxed)
        case .network: networkEgress.wrappingAdd(1, ordering: .relaxed)
        }
    }

    /// The counts of route containers as they are now.
    var containerCounts: (ingress: Int, egress: Int) {
        (containerIngress.load(ordering: .relaxed), containerEgress.load(ordering: .relaxed))
    }

    /// The counts of other networks as they are now.
    var networkCounts: (ingress: Int, egress: Int) {
        (networkIngress.load(ordering: .relaxed), networkEgress.load(ordering: .relaxed))
    }

    /// The five counts as they are now.
    var counts: (ingress: Int, egress: Int, transit: Int, toContainer: Int, fromContainer: Int) {
        (
            ingress.load(ordering: .relaxed), egress.load(ordering: .relaxed), transit.load(ordering: .relaxed),
            toContainer.load(ordering: .relaxed), fromContainer.load(ordering: .relaxed)
        )
    }
}
