import Testing

@testable import Router

/// router-protocol sheet, section 4.1: from address text to hash key, seen from router `me`.
@Suite struct AddressScopeTests {
    /// Every row of the table that an interior router without a network id has; networks are all taken for this one.
    static let rows: [(text: String, key: String)] = [
        ("_local/x", "Lx"), ("_local/$management", "L$management"), ("_local/a/b", "La/b"),
        ("_topo/0/me/x", "Lx"), ("_topo/0/me/temp.abc", "Ltemp.abc"),
        ("_topo/0/all/qdrouter", "Tqdrouter"), ("_topo/all/qdrouter.ma", "Tqdrouter.ma"),
        ("_topo/0/other/x", "Rother"), ("_topo/0/other/a/b", "Rother"), ("_topo/0/other", "Rother"),
        ("_topo/0/me2/x", "Rme2"), ("_topo/0/m/x", "Rm"),
        ("_edge/e1/x", "He1"), ("_edge/e1", "He1"),
        ("_xtopo/net/0/me/temp.abc", "Ltemp.abc"), ("_xtopo/0/0/other/x", "Rother"), ("_xtopo/a.b/all/x", "Tx"),
        ("_xedge/net/e1/x", "He1"), ("_xtopo", "M_xtopo"), ("_xtopo/net", "M_xtopo/net"), ("_x/net/x", "M_x/net/x"),
        ("x", "Mx"), ("a/b", "Ma/b"), ("a.b", "Ma.b"), ("_topology/x", "M_topology/x"), ("_locals/x", "M_locals/x"),
        ("$management", "M$management"), ("my service", "Mmy service"),
    ]

    @Test(arguments: rows) func classifiesPlainText(text: String, key: String) {
        #expect(AddressScope(text, selfID: "me").key == key)
    }

    /// Scheme, host and leading slash are skipped, one trailing dot or slash is dropped: all of them the same address.
    @Test(arguments: rows) func normalises(text: String, key: String) {
        for prefix in ["/", "amqp:/", "amqps:/", "amqp://h:1/", "amqp://user@[::1]:5672/"] {
            #expect(AddressScope(prefix + text, selfID: "me").key == key, "\(prefix + text)")
        }
        for suffix in ["/", "."] {
            #expect(AddressScope(text + suffix, selfID: "me").key == key, "\(text + suffix)")
        }
    }

    /// Only one slash in front and one character behind are dropped.
    @Test func dropsNoMoreThanOne() {
        #expect(AddressScope("//x", selfID: "me").key == "M/x")
        #expect(AddressScope("x//", selfID: "me").key == "Mx/")
        #expect(AddressScope("x./", selfID: "me").key == "Mx.")
    }

    /// A colon that ends no scheme belongs to the address.
    @Test func keepsColonsInNames() {
        #expect(AddressScope("web:8080", selfID: "me").key == "Mweb:8080")
        #expect(AddressScope("amqp://host-without-path", selfID: "me").key == "Mamqp://host-without-path")
    }

    /// Nothing traps on texts a peer may send.
    @Test(arguments: [
        "", "/", ".", ":", ":/", "://", ":///", "_topo/", "_topo/0", "_topo/0/", "_topo/0/me", "_topo/0/me/",
        "_topo/0//x",
        "_edge/", "_edge//", "_local/", "_xtopo/", "_xtopo//", "_xtopo//0/", "_xedge/net//",
        "amqp:", "amqp:/", "amqp://", "amqp:///", "é/ü", "\u{0}", "_topo/0/all",
    ])
    func survives(text: String) {
        #expect("LTRHM".contains(AddressScope(text, selfID: "me").key.first ?? "?"))
        #expect("LTRHMN".contains(AddressScope(text, selfID: "me", network: "net").key.first ?? "?"))
    }

    @Test func edgeRoutersLeaveTheRestToTheInterior() {
        for (text, scope) in [
            ("_topo/0/other/x", .uplink), ("_xtopo/net/0/other/x", .uplink), ("_edge/me/x", .local("x")),
            ("_xedge/net/me/t/temp.1", .local("t/temp.1")), ("_xedge/net/e2/x", .edge("e2")),
        ] as [(String, AddressScope)] {
            #expect(AddressScope(text, selfID: "me", isEdge: true) == scope, "\(text)")
        }
    }

    /// Seen from router `me` of network `net`.
    @Test(arguments: [
        ("_xtopo/net/0/me/temp.abc", "Ltemp.abc"), ("_xtopo/net/0/other/x", "Rother"), ("_xtopo/net/all/x", "Tx"),
        ("_xtopo/0/0/me/x", "Lx"), ("_xedge/0/e1/x", "He1"), ("_xedge/net/e1/x", "He1"),
        ("_xtopo/far/0/me/temp.abc", "Nfar"), ("_xtopo/far/0/other", "Nfar"), ("_xedge/far/e1/x", "Nfar"),
        ("_xtopo/far", "Nfar"), ("_xtopo/net", "Nnet"), ("_xtopo/ne/0/me/x", "Nne"), ("_xtopo/net2/0/me/x", "Nnet2"),
        ("_topo/0/me/x", "Lx"), ("_topo/0/other/x", "Rother"), ("_edge/e1/x", "He1"), ("_xtopo", "M_xtopo"),
        ("x", "Mx"),
    ]) func otherNetworksAreToldApart(text: String, key: String) {
        #expect(AddressScope(text, selfID: "me", network: "net").key == key)
        #expect(AddressScope("amqp:/" + text, selfID: "me", network: "net").key == key)
    }

    @Test func edgeRoutersLeaveOtherNetworksToTheInterior() {
        for (text, scope) in [
            ("_xtopo/far/0/me/x", .uplink), ("_xedge/far/me/x", .uplink), ("_xedge/net/me/x", .local("x")),
            ("_xedge/net/e2/x", .edge("e2")), ("_xtopo/net/0/other/x", .uplink), ("_xtopo/far", .uplink),
        ] as [(String, AddressScope)] {
            #expect(AddressScope(text, selfID: "me", isEdge: true, network: "net") == scope, "\(text)")
        }
    }

    /// What a router calls its own is its own to itself, and leads to its network from any other.
    @Test(arguments: ["net", "a/b", "0.1"]) func ownAddressesLeadBack(network: String) {
        let first = String(network.prefix { $0 != "/" })
        for isEdge in [false, true] {
            let text = AddressScope.address(ofLocal: "temp.x", selfID: "me", isEdge: isEdge, network: network)
            let here = AddressScope(text, selfID: "me", isEdge: isEdge, network: network)
            #expect(here == .local("temp.x"), "\(text)")
            #expect(AddressScope(text, selfID: "me", network: "far") == .network(first), "\(text)")
        }
    }

    @Test func ownAddressesAreThoseOfSkrouterd() {
        func address(_ isEdge: Bool, _ network: String?) -> String {
            AddressScope.address(ofLocal: "temp.x", selfID: "me", isEdge: isEdge, network: network)
        }
        #expect(address(false, nil) == "amqp:/_topo/0/me/temp.x")
        #expect(address(true, nil) == "amqp:/_edge/me/temp.x")
        #expect(address(false, "net") == "amqp:/_xtopo/net/0/me/temp.x")
        #expect(address(true, "net") == "amqp:/_xedge/net/me/temp.x")
    }

    /// Between networks no trace tells that a message goes in circles.
    @Test func nothingGoesBackToTheNetworkItCameFrom() {
        let one = ConnectionRef(worker: 0, id: 1)
        let back = LocalConsumer(connection: one, link: 1, load: LoadCounter(), outside: .network)
        let on = LocalConsumer(connection: ConnectionRef(worker: 0, id: 2), link: 2, load: LoadCounter())
        let arrival = Arrival(connection: one, viaEdge: false, viaNetwork: true)
        #expect(arrival.bars(back) && !arrival.bars(on))
        #expect(!Arrival(connection: one, viaEdge: false).bars(back))
    }

    @Test func routersAndLocalNamesAreKeptApart() {
        #expect(AddressScope("_topo/0/me", selfID: "me") == .local(""))
        #expect(AddressScope("_topo/0/all", selfID: "me") == .all(""))
        #expect(AddressScope("_topo/0/é", selfID: "me") == .router("é"))
        #expect(AddressScope("_topo/1/x/y", selfID: "me") == .mobile("_topo/1/x/y"))
    }
}
