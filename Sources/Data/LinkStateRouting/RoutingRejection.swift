/// Why something a peer sent was not used.
package enum RoutingRejection: Error, Hashable, Sendable {
    /// A mandatory field is absent.
    case missingField(String)
    /// A field has a type or a range it must not have.
    case invalidField(String)
    /// The body is not a map.
    case notAMap
    /// The opcode is none of ours.
    case unknownOpcode
    /// The peer speaks a newer protocol version.
    case newerVersion(Int64)
    /// The id is empty, too long or has characters that addresses cannot carry.
    case invalidRouterID
    /// More peers than a network can have routers.
    case tooManyPeers(Int)
    /// The message claims to come from this router.
    case ownID
    /// Another router uses our id.
    case duplicateRouterID
    /// Two routers, at two connections, use one id.
    case twoRoutersOfOneID(String)
    /// The link states held have no room for another of this size.
    case linkStateStoreFull
    /// All mask bits are taken.
    case routerTableFull
    /// The store of remote addresses is full.
    case addressStoreFull
    /// The message comes from a router never heard of.
    case unknownRouter
    /// A connection already bound to one router carried the HELLO of another.
    case neighbourIDChanged
    /// The message stems from an earlier instance of the router.
    case staleInstance

    /// Kind without details, for counters.
    package var kind: String {
        switch self {
        case .missingField: "missingField"
        case .invalidField: "invalidField"
        case .notAMap: "notAMap"
        case .unknownOpcode: "unknownOpcode"
        case .newerVersion: "newerVersion"
        case .invalidRouterID: "invalidRouterID"
        case .tooManyPeers: "tooManyPeers"
        case .ownID: "ownID"
        case .duplicateRouterID: "duplicateRouterID"
        case .twoRoutersOfOneID: "twoRoutersOfOneID"
        case .linkStateStoreFull: "linkStateStoreFull"
        case .routerTableFull: "routerTableFull"
        case .addressStoreFull: "addressStoreFull"
        case .unknownRouter: "unknownRouter"
        case .neighbourIDChanged: "neighbourIDChanged"
        case .staleInstance: "staleInstance"
        }
    }

    /// What happened, the likely cause, and what to do.
    package var text: String {
        switch self {
        case .missingField(let name):
            "field \(name) is missing; the peer is not a compatible router or is faulty: check its version"
        case .invalidField(let name):
            "field \(name) has a wrong type or value; the peer is not a compatible router or is faulty: "
                + "check its version"
        case .notAMap:
            "the body is not a map; the peer is not a compatible router: check its version"
        case .unknownOpcode:
            "the opcode is unknown; the peer may be a newer router: compare versions"
        case .newerVersion(let version):
            "protocol version \(version) is newer than ours; messages of this router are ignored: upgrade this router"
        case .invalidRouterID:
            "the router id is empty, too long or contains white space or one of / | $: give that router another id"
        case .tooManyPeers(let count):
            "it names \(count) peers, more than a network can have routers; the router is faulty: check it"
        case .ownID:
            "it carries our own router id; a copy of one of our messages came back, or another router has our id"
        case .duplicateRouterID:
            "another router uses our id; two routers were given the same id: change one and restart it"
        case .routerTableFull:
            "the table of remote routers is full; a network has at most \(RoutingLimits().remoteRouters + 1) routers: "
                + "make some of them edge routers"
        case .twoRoutersOfOneID(let id):
            "two routers use the id \(id); this one is left out while the other is there: change the id of one and "
                + "restart it"
        case .linkStateStoreFull:
            "the link states of all routers together are too large; a router that lists too many neighbours is faulty: "
                + "check it"
        case .addressStoreFull:
            "the store of remote addresses is full; further addresses are ignored: remove unused services"
        case .unknownRouter:
            "the router is not known yet; harmless while a link comes up"
        case .neighbourIDChanged:
            "a connection bound to one router carried the HELLO of another; it is ignored until the connection is "
                + "made anew: check what stands between the routers"
        case .staleInstance:
            "it stems from an earlier run of that router; harmless just after a restart"
        }
    }
}
