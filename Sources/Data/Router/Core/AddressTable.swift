/// One address in the control thread's table: who consumes it here.
struct AddressRecord {
    var key: String
    var treatment: Treatment
    /// Served by the control thread itself.
    var inProcess = false
    var connectors: [TCPConnectorTarget] = []
    var consumers: [LocalConsumer] = []
    var producers: Set<UInt64> = []
    /// Open streams per remote router; kept while the address exists so that counts survive new tables.
    var loads: [String: LoadCounter] = [:]
    /// Told to other routers.
    var isAdvertised = false

    var localConsumerCount: Int { connectors.count + consumers.count }
    var isMobile: Bool { key.first == "M" }
}

/// Treatment rules of `address` entities.
struct TreatmentRules {
    struct Rule {
        var name: String
        var prefix: String
        var treatment: Treatment
    }

    var rules: [Rule] = []
    var fallback: Treatment = .balanced

    /// The treatment of a mobile address: the longest prefix on a token boundary wins.
    func treatment(of text: String) -> Treatment? {
        var best: Rule?
        for rule in rules where matches(rule.prefix, text) {
            if best == nil || rule.prefix.utf8.count > best!.prefix.utf8.count { best = rule }
        }
        return best?.treatment
    }

    private func matches(_ prefix: String, _ text: String) -> Bool {
        guard text.utf8.starts(with: prefix.utf8) else { return false }
        let next = text.utf8.dropFirst(prefix.utf8.count).first
        return next == nil || next == UInt8(ascii: "/") || next == UInt8(ascii: ".")
    }
}
