/// Durations of the routing protocol, in milliseconds unless the name says ticks (protocol sheet §3.3).
package struct RoutingTimers: Equatable, Sendable {
    /// Period of `.tick`, and so of HELLO.
    package var helloIntervalMilliseconds: Int64 = 1000
    /// Age at which a heard id leaves the `seen` list of our HELLO.
    package var helloMaxAgeMilliseconds: Int64 = 3000
    /// A neighbour whose last confirming HELLO is older than this is lost. The protocol uses helloMaxAge.
    package var silentNeighbourMilliseconds: Int64 = 3000
    /// Period of router advertisements in steady state.
    package var raIntervalMilliseconds: Int64 = 30000
    /// Period of router advertisements for twice this time after a topology change.
    package var raIntervalFluxMilliseconds: Int64 = 4000
    /// Age at which the link state of a router that is no longer advertised is emptied.
    package var remoteLinkStateMaxAgeMilliseconds: Int64 = 60000
    /// Ticks for which the addresses of an unreachable router are kept.
    package var unreachableHoldoffTicks: Int = 1
    /// Shortest time between two differential MAU, between two path computations caused by peers, and between two
    /// requests to one router. The first of a burst is never delayed.
    package var coalescingMilliseconds: Int64 = 20

    /// The protocol's defaults.
    package init() {}

    /// The protocol's defaults with another hello interval and age, as the router configuration gives them.
    package init(helloIntervalMilliseconds: Int64, helloMaxAgeMilliseconds: Int64) {
        self.helloIntervalMilliseconds = max(1, helloIntervalMilliseconds)
        self.helloMaxAgeMilliseconds = max(1, helloMaxAgeMilliseconds)
        silentNeighbourMilliseconds = self.helloMaxAgeMilliseconds
    }
}

/// Bounds on what peers can make a routing machine store or do.
package struct RoutingLimits: Equatable, Sendable {
    /// Remote routers tracked. skupper-router stops at 127; nothing on the wire does.
    package var remoteRouters = 511
    /// Peers in all link states held together. A full mesh of 127 routers has 16,002.
    package var linkStateEdges = 16_384
    /// Mobile addresses stored, over all remote routers.
    package var remoteAddresses = 50_000
    /// Mobile addresses stored for one remote router, so that one that floods leaves room for the others.
    package var addressesOfOneRouter = 10_000
    /// Octets of an address hash key.
    package var addressKeyOctets = 4096
    /// Octets of a router id.
    package var routerIDOctets = 256
    /// HELLO sent per connection slot and tick in answer to a peer's HELLO.
    package var answeringHellosPerTick = 4
    /// Connection slots served.
    package var slots = 1024
    /// Distinct log subjects remembered, so that each is logged once in ten minutes.
    package var logSubjects = 512

    /// The limits of the protocol and of this implementation.
    package init() {}

    /// Largest cost of one edge and of a reported path.
    package static let maximumCost = Int(Int32.max)
}
