import RouterConfig
import Testing

@testable import Router

/// What the control thread makes of attributes of the router and the network. No thread runs here.
@Suite struct CoreEntityTests {
    private static func core(_ pairs: String, router: String = "") throws -> Core {
        let configuration = try RouterConfiguration.parse(
            json: "[[\"router\", {\"id\": \"r\", \"mode\": \"interior\"\(router)}]\(pairs)]")
        let core = Core(router: configuration.router, instance: 1)
        for entity in configuration.entities { try core.create(entity) }
        return core
    }

    private static let services = """
        , ["tcpListener", {"name": "l", "host": "127.0.0.1", "port": "0", "address": "svc"}],
        ["tcpListener", {"name": "m", "host": "127.0.0.1", "port": "0", "multiAddressStrategy": "priority"}],
        ["listenerAddress", {"name": "a", "listener": "m", "address": "other", "value": 1}],
        ["tcpConnector", {"name": "c", "port": "1", "address": "svc"}]
        """

    /// The file's order does not count; an empty text overrides vanId as well.
    @Test(arguments: [
        ("", "", ""), (#", "vanId": "v""#, "", "v/"), ("", #", ["network", {"tenantId": "t"}]"#, "t/"),
        (#", "vanId": "v""#, #", ["network", {"tenantId": "t/u"}]"#, "t/u/"),
        (#", "vanId": "v""#, #", ["network", {"networkId": "n"}]"#, "v/"),
        (#", "vanId": "v""#, #", ["network", {"tenantId": ""}]"#, ""),
    ])
    func aTenantStandsBeforeServiceAddresses(router: String, network: String, prefix: String) throws {
        let core = try Self.core(Self.services + network, router: router)
        #expect(core.tcpConnectors["c"]?.target.address == prefix + "svc")
        #expect(core.addresses["M\(prefix)svc"]?.connectors.count == 1)
        #expect(core.tcpListeners["l"]?.target.addresses.map(\.key) == ["M\(prefix)svc"])
        #expect(core.tcpListeners["m"]?.target.addresses.map(\.key) == ["M\(prefix)other"])
        // The entity shows what was given.
        #expect(core.tcpConnectors["c"]?.entity[string: "address"] == "svc")
        try core.delete(try #require(core.tcpConnectors["c"]?.entity))
        #expect(core.addresses["M\(prefix)svc"]?.connectors.isEmpty ?? true)
    }

    @Test func timersAreThoseOfTheRouter() throws {
        let usual = try Self.core("").timers
        #expect(usual.raIntervalMilliseconds == 30_000)
        #expect(usual.remoteLinkStateMaxAgeMilliseconds == 60_000)
        #expect(usual.unreachableHoldoffTicks == 1)
        let timers = try Self.core(
            "",
            router: """
                , "helloIntervalSeconds": 2, "helloMaxAgeSeconds": 7, "raIntervalSeconds": 11,
                "raIntervalFluxSeconds": 5, "remoteLsMaxAgeSeconds": 13, "unreachableHoldoffSeconds": 17
                """
        ).timers
        #expect(timers.helloIntervalMilliseconds == 2000)
        #expect(timers.helloMaxAgeMilliseconds == 7000)
        #expect(timers.silentNeighbourMilliseconds == 7000)
        #expect(timers.raIntervalMilliseconds == 11_000)
        #expect(timers.raIntervalFluxMilliseconds == 5000)
        #expect(timers.remoteLinkStateMaxAgeMilliseconds == 13_000)
        // Ticks of two seconds.
        #expect(timers.unreachableHoldoffTicks == 9)
        #expect(timers.coalescingMilliseconds == usual.coalescingMilliseconds)
        #expect(try Self.core("", router: #", "unreachableHoldoffSeconds": 0"#).timers.unreachableHoldoffTicks == 0)
    }
}
