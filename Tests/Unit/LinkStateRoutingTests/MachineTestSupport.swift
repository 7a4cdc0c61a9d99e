import AMQPCodec

@testable import LinkStateRouting

/// Short forms for bodies a peer may send, right or wrong.
func mapBody(_ fields: [(String, AMQPValue)]) -> AMQPValue {
    .map(fields.map { MapEntry(key: .string($0.0), value: $0.1) })
}

/// A machine "A" with a clock, fed by hand.
struct Bench {
    var machine: RoutingMachine
    var now: Int64 = 10_000

    init(id: String = "A", limits: RoutingLimits = RoutingLimits(), timers: RoutingTimers = RoutingTimers()) {
        machine = RoutingMachine(id: id, instance: 100, timers: timers, limits: limits)
    }

    @discardableResult
    mutating func send(_ event: RoutingEvent, after milliseconds: Int64 = 0) -> [RoutingEffect] {
        now += milliseconds
        return machine.handle(event, now: now)
    }

    @discardableResult
    mutating func receive(_ message: RoutingMessage, slot: Int = 1, after milliseconds: Int64 = 0) -> [RoutingEffect] {
        send(
            .messageReceived(slot: slot, opcode: message.opcode, body: message.body, ingress: nil),
            after: milliseconds)
    }

    @discardableResult
    mutating func receive(
        _ opcode: String, _ fields: [(String, AMQPValue)], slot: Int = 1, after milliseconds: Int64 = 0
    ) -> [RoutingEffect] {
        send(
            .messageReceived(slot: slot, opcode: opcode, body: mapBody(fields), ingress: nil), after: milliseconds)
    }

    @discardableResult
    mutating func hello(
        _ id: String, slot: Int = 1, instance: Int64 = 7, seen: [String] = ["A"], after milliseconds: Int64 = 0
    ) -> [RoutingEffect] {
        receive(.hello(id: id, instance: instance, seen: seen), slot: slot, after: milliseconds)
    }

    /// Connects `id` on `slot` and confirms it.
    mutating func confirm(_ id: String, slot: Int = 1, cost: Int = 1) {
        send(.neighbourConnected(slot: slot, cost: cost), after: 100)
        hello(id, slot: slot)
    }

    @discardableResult
    mutating func linkState(
        _ id: String, _ sequence: Int64, _ peers: [String: Int], instance: Int64 = 7, slot: Int = 1,
        after milliseconds: Int64 = 100
    ) -> [RoutingEffect] {
        receive(
            .linkStateUpdate(id: id, to: "A", instance: instance, sequence: sequence, peers: peers), slot: slot,
            after: milliseconds)
    }
}

extension [RoutingEffect] {
    /// Opcodes sent, with where: "HELLO@1", "LSR>B", "RA*".
    var sent: [String] {
        compactMap {
            switch $0 {
            case .sendToNeighbour(let slot, let message): "\(message.opcode)@\(slot)"
            case .sendToRouter(let id, let message): "\(message.opcode)>\(id)"
            case .flood(let message): "\(message.opcode)*"
            default: nil
            }
        }
    }

    var logs: [String] {
        compactMap { if case .log(_, let text) = $0 { text } else { nil } }
    }

    var wake: Int64? {
        compactMap { if case .wakeAfter(let milliseconds) = $0 { milliseconds } else { nil } }.last
    }

    func messages(_ opcode: String) -> [RoutingMessage] {
        compactMap {
            switch $0 {
            case .sendToNeighbour(_, let message), .sendToRouter(_, let message), .flood(let message):
                message.opcode == opcode ? message : nil
            default: nil
            }
        }
    }
}
