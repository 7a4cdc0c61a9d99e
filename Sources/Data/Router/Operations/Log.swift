import Glibc
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
        let aliases = ["trace": "debug", "notice": "info"]
        let wanted = aliases[name] ?? name
        guard let level = LogLevel.allCases.first(where: { $0.name == wanted }) else { return nil }
        self = level
    }
}

/// Log modules, named as skupper-router names them so that existing `log` entities keep working.
enum LogModule: String, Sendable, CaseIterable {
    case router = "ROUTER"
    case core = "ROUTER_CORE"
    case hello = "ROUTER_HELLO"
    case linkState = "ROUTER_LS"
    case mobileAddress = "ROUTER_MA"
    case server = "SERVER"
    case agent = "AGENT"
    case http = "HTTP"
    case connectionManager = "CONN_MGR"
    case tcp = "TCP_ADAPTOR"

    fileprivate var index: Int {
        switch self {
        case .router: 0
        case .core: 1
        case .hello: 2
        case .linkState: 3
        case .mobileAddress: 4
        case .server: 5
        case .agent: 6
        case .http: 7
        case .connectionManager: 8
        case .tcp: 9
        }
    }
}

/// The process log: one line per event on standard error, each written with a single call so that lines never mix.
enum Log {
    private static let levels = Levels()

    private final class Levels: Sendable {
        /// Four bits a module: the lowest level written.
        let packed = Atomic<UInt64>(0x1111_1111_1111_1111)
    }

    /// Sets the lowest level that `module` writes; nil = every module.
    static func setLevel(_ level: LogLevel, for module: LogModule?) {
        var packed = levels.packed.load(ordering: .relaxed)
        for candidate in LogModule.allCases where module == nil || candidate == module {
            let shift = UInt64(candidate.index * 4)
            packed = packed & ~(0xf << shift) | UInt64(level.rawValue) << shift
        }
        levels.packed.store(packed, ordering: .relaxed)
    }

    static func isEnabled(_ module: LogModule, _ level: LogLevel) -> Bool {
        let lowest = levels.packed.load(ordering: .relaxed) >> UInt64(module.index * 4) & 0xf
        return UInt64(level.rawValue) >= lowest
    }

    static func write(_ module: LogModule, _ level: LogLevel, _ text: @autoclosure () -> String) {
        guard isEnabled(module, level) else { return }
        guard let skipped = level == .debug ? 0 : allowance(module) else { return }
        if skipped > 0 { put(module, .warning, "\(skipped) lines of this module were left out: too many at once") }
        put(module, level, text())
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

    private static func put(_ module: LogModule, _ level: LogLevel, _ text: String) {
        var moment = timespec()
        clock_gettime(CLOCK_REALTIME, &moment)
        var parts = tm()
        var seconds = moment.tv_sec
        gmtime_r(&seconds, &parts)
        var stamp = [CChar](repeating: 0, count: 32)
        strftime(&stamp, 32, "%Y-%m-%d %H:%M:%S", &parts)
        let micro = String(1_000_000 + moment.tv_nsec / 1000).dropFirst()
        let time = String(decoding: stamp.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        var line = "\(time).\(micro) +0000 \(module.rawValue) (\(level.name)) \(text)\n"
        line.withUTF8 { _ = Glibc.write(2, $0.baseAddress, $0.count) }
    }
}
