/// Why a management exchange with a router gave no result.
package enum ManagementError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The router cannot be reached; `reason` is the system's or TLS's text.
    case unreachable(address: String, reason: String)
    /// The deadline passed; `waitingFor` names the step.
    case timeout(address: String, waitingFor: String)
    /// The connection ended; `reason` is the router's text if it gave one.
    case closed(address: String, reason: String)
    /// What arrived is not AMQP 1.0, or not what this step allows.
    case protocolViolation(address: String, detail: String)
    /// The router answered with a status other than success.
    case refused(operation: String, statusCode: Int, description: String)

    package var description: String {
        switch self {
        case .unreachable(let address, let reason):
            "cannot reach the router's management at \(address): \(reason); check that the router runs"
        case .timeout(let address, let waitingFor):
            "the router at \(address) did not answer in time, waiting for \(waitingFor); it may be overloaded or "
                + "stopped"
        case .closed(let address, let reason):
            "the router at \(address) closed the management connection: \(reason); see the router's log"
        case .protocolViolation(let address, let detail):
            "what answers at \(address) does not speak AMQP management as expected: \(detail); check the address"
        case .refused(let operation, let statusCode, let description):
            "the router refused \(operation): \(statusCode) \(description)"
        }
    }

    /// Whether the connection can go on being used after this error.
    package var leavesConnectionUsable: Bool {
        if case .refused = self { return true }
        return false
    }
}
