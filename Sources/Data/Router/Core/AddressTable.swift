/// One address in the control thread's table: who consumes it here.
struct AddressRecord {
    var key: String
    var treatment: Treatment
    var priority: Int?
    /// Served by the control thread itself.
    var inProcess = false
    /// Other routers are told of it although it is in process.
    var isAnnounced = false
    var connectors: [TCPConnectorTarget] = []
    var consumers: [LocalConsumer] = []
    var producers: Set<UInt64> = []
    /// What is open per next hop, by slot; kept while the address exists so that counts survive new tables.
    var loads: [Int: LoadCounter] = [:]
    let traffic = AddressTraffic()
    /// Messages of the router itself that went to one of the consumers.
    var turn = 0
    /// Told to other routers.
    var isAdvertised = false

    var localConsumerCount: Int { connectors.count + consumers.count }
    /// The mesh of edge routers that all consumers known here are in; nil if not all are in one.
    var soleMesh: String? {
        guard connectors.isEmpty, !inProcess, let mesh = consumers.first?.meshID,
            consumers.allSatisfy({ $0.meshID == mesh })
        else { return nil }
        return mesh
    }
    /// Other routers may be told of it: a service address, an edge router below us, or another network.
    var isPublic: Bool { key.first.map { "MHN".contains($0) } ?? false }
}
