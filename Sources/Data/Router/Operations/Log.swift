import Glibc
import RouterConfig
import Synchronization
import Threading

/// Log severities, in rising order.
enum LogLevel: Int, Sendable, CaseIterable {
    case debug, info, warning, error, critical

    var name: String {
        switch self {
        case .debug: "debug"
        case .info: "info"
        case .warning: "warning"
        case .error: "error"
        case .critical: "critical"
        }
    }

    init?(name: String) {
        guard let level = LogLevel.allCases.first(where: { $0.name == name }) else { return nil }
        self = level
    }
}

/// Log modules, named as skupper-router names them so that existing `log` entities keep working.
enum LogModule: Int, Sendable, CaseIterable {
    case router, core, hello, linkState, mobileAddress, message, server, agent, container, error, policy, http
    case connectionManager, python, protocolTrace, tcp, httpAdaptor, flow, addressWatch, http1Observer, http2Observer
    case http2Decoder

    private static let names = [
        "ROUTER", "ROUTER_CORE", "ROUTER_HELLO", "ROUTER_LS", "ROUTER_MA", "MESSAGE", "SERVER", "AGENT", "CONTAINER",
        "ERROR", "POLICY", "HTTP", "CONN_MGR", "PYTHON", "PROTOCOL", "TCP_ADAPTOR", "HTTP_ADAPTOR", "FLOW_LOG",
        "ADDRESS_WATCH", "HTTP1_OBSERVER", "HTTP2_OBSERVER", "HTTP2_DECODER",
    ]

    /// Position in tables that have one entry for each module.
    var index: Int { rawValue }

    var name: String { LogModule.names[rawValue] }

    /// Nil for DEFAULT, which is no module, and for unknown names.
    init?(name: String) {
        guard let position = LogModule.names.firstIndex(of: name) else { return nil }
        self.init(rawValue: position)
    }
}

/// A set of log levels, one bit each.
struct LogLevels: OptionSet, Sendable {
    let rawValue: UInt8
    static let infoAndGraver: LogLevels = [.init(.info), .init(.warning), .init(.error), .init(.critical)]

    init(rawValue: UInt8) { self.rawValue = rawValue }
    init(_ level: LogLevel) { rawValue = 1 << UInt8(level.rawValue) }

    /// What a `log` entity's `enable` says; nil if it leaves the choice to DEFAULT.
    init?(enable: String?) {
        guard let enable, !Schema.usesDefaultLogLevels(enable) else { return nil }
        let names = Schema.enabledLogLevels(enable) ?? []
        self.init(LogLevel.allCases.filter { names.contains($0.name) }.map { LogLevels($0) })
    }
}

/// The process log: one line per event, each written with a single call so that lines never mix.
///
/// What is written, where to and in which form is set by `log` entities, live, for each module (``LogSettings``).
enum Log {
    /// Levels each module writes, five bits a module and twelve modules a word: read before every line.
    private final class Levels: Sendable {
        private let low = Atomic<UInt64>(0)
        private let high = Atomic<UInt64>(0)

        init() {
            for module in LogModule.allCases { set(module, .infoAndGraver) }
        }

        func set(_ module: LogModule, _ levels: LogLevels) {
            let shift = UInt64(module.index % 12 * 5)
            let mask: UInt64 = 0x1f << shift
            let bits = UInt64(levels.rawValue) << shift
            if module.index < 12 {
                low.store(low.load(ordering: .relaxed) & ~mask | bits, ordering: .relaxed)
            } else {
                high.store(high.load(ordering: .relaxed) & ~mask | bits, ordering: .relaxed)
            }
        }

        func contains(_ module: LogModule, _ level: LogLevel) -> Bool {
            let index = module.index
            let word = index < 12 ? low.load(ordering: .relaxed) : high.load(ordering: .relaxed)
            return word >> UInt64(index % 12 * 5) & (1 << UInt64(level.rawValue)) != 0
        }
    }

    private static let levels = Levels()

    /// Sets the levels that `module` writes. Only the control thread does.
    static func setLevels(_ chosen: LogLevels, for module: LogModule) { levels.set(module, chosen) }

    static func isEnabled(_ module: LogModule, _ level: LogLevel) -> Bool { levels.contains(module, level) }

    /// Writes a line if the module writes that level. `text` is made only then.
    ///
    /// - Parameter isTold: collectors of telemetry are told, if the line is grave. False where telling them can be
    ///   what caused the line.
    static func write(
        _ module: LogModule, _ level: LogLevel, _ text: @autoclosure () -> String, isTold: Bool = true,
        file: StaticString = #fileID, line: Int = #line
    ) {
        guard isEnabled(module, level) else { return }
        guard let skipped = level == .debug ? 0 : allowance(module) else { return }
        if skipped > 0 {
            LogSettings.put(
                module, .warning, "\(skipped) lines of this module were left out: too many at once", file, line)
        }
        LogSettings.put(module, level, text(), file, line, isTold: isTold)
    }

    /// Lines a module may write at once, and then in a second: peers must not be able to fill the disk.
    private static let burst = 5000
    private static let linesPerSecond = 100

    private struct Budget {
        var left = Log.burst
        var filledAt = 0
        var skipped = 0
    }

    private static let budgets = Locked<[Budget]>(Array(repeating: Budget(), count: LogModule.allCases.count))

    /// Nil: not now. Else how many lines were left out since the last one written.
    private static func allowance(_ module: LogModule) -> Int? {
        var moment = timespec()
        clock_gettime(CLOCK_MONOTONIC_COARSE, &moment)
        let second = moment.tv_sec
        return budgets.withLock { budgets -> Int? in
            var budget = budgets[module.index]
            defer { budgets[module.index] = budget }
            if second > budget.filledAt {
                let earned = min(burst, (second - budget.filledAt) * linesPerSecond)
                budget.left = min(burst, budget.left + earned)
                budget.filledAt = second
            }
            guard budget.left > 0 else {
                budget.skipped += 1
                return nil
            }
            budget.left -= 1
            let skipped = budget.skipped
            budget.skipped = 0
            return skipped
        }
    }
}
