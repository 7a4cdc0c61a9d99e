import Glibc
import Threading

/// Where log lines go: a file, standard error, standard output or the system's log.
///
/// Kept by every module that writes there; closed with the last of them.
final class LogOutput: Sendable {
    enum Place: Sendable {
        case descriptor(Int32)
        case systemLog
    }

    let name: String
    private let place: Place

    /// Opens `name` for appending; nil if that fails, with the cause in `errno`.
    init?(_ name: String) {
        self.name = name
        switch name {
        case "stderr": place = .descriptor(2)
        case "stdout": place = .descriptor(1)
        case "syslog": place = .systemLog
        default:
            guard !name.isEmpty else {
                errno = ENOENT
                return nil
            }
            let descriptor = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else { return nil }
            place = .descriptor(descriptor)
        }
    }

    deinit {
        if case .descriptor(let number) = place, number > 2 { close(number) }
    }

    func write(_ line: String, _ level: LogLevel) {
        var line = line
        switch place {
        case .descriptor(let number):
            line.withUTF8 { _ = Glibc.write(number, $0.baseAddress, $0.count) }
        case .systemLog:
            let priorities: [LogLevel: Int32] = [
                .debug: LOG_DEBUG, .info: LOG_INFO, .warning: LOG_WARNING, .error: LOG_ERR, .critical: LOG_CRIT,
            ]
            line.withCString { text in
                withVaList([text]) { vsyslog(priorities[level] ?? LOG_INFO, "%s", $0) }
            }
        }
    }
}

/// A line kept for GET-LOG and for collectors of telemetry.
struct LogRecord: Sendable {
    let module: LogModule
    let level: LogLevel
    let text: String
    let file: StaticString
    let line: Int
    /// Microseconds since 1970.
    let time: Int64
}

/// How the lines of each module look and where they go; what `log` entities set.
enum LogSettings {
    /// One module's settings; nil = as DEFAULT has it.
    struct Setting: Sendable {
        var levels: LogLevels?
        var includeTimestamp: Bool?
        var includeSource: Bool?
        var output: LogOutput?
    }

    private struct State: Sendable {
        var fallback = Setting()
        var modules = [Setting](repeating: Setting(), count: LogModule.allCases.count)
        var usesUniversalTime = false
        var timeFormat: String?
        var counts = [[Int]](
            repeating: [Int](repeating: 0, count: LogLevel.allCases.count), count: LogModule.allCases.count)
        var recent = LastItems<LogRecord>(capacity: LogSettings.recentMaximum)
        /// Lines that collectors of telemetry have not been told yet.
        var untold = LastItems<LogRecord>(capacity: LogSettings.untoldMaximum)
    }

    private static let state = Locked(State())
    /// Lines kept for GET-LOG, and characters kept of each.
    static let recentMaximum = 1000
    private static let recentTextMaximum = 2048
    /// Lines kept between two times at which collectors are told of them.
    static let untoldMaximum = 500

    /// Sets one module; nil = DEFAULT, which the others fall back to. Only the control thread does.
    static func set(_ setting: Setting, for module: LogModule?) {
        let chosen = state.withLock { state -> [LogLevels] in
            if let module {
                state.modules[module.index] = setting
            } else {
                state.fallback = setting
            }
            return state.modules.map { $0.levels ?? state.fallback.levels ?? .infoAndGraver }
        }
        for module in LogModule.allCases { Log.setLevels(chosen[module.index], for: module) }
    }

    /// The output called `name`, shared with the modules that have it already; nil and `errno` if it cannot be opened.
    static func output(_ name: String) -> LogOutput? {
        let known = state.withLock { state in
            ([state.fallback] + state.modules).lazy.compactMap(\.output).first { $0.name == name }
        }
        return known ?? LogOutput(name)
    }

    /// Local or universal time, and the form of the time in the manner of strftime; nil for the usual one.
    static func setTime(universal: Bool, format: String?) {
        state.withLock {
            $0.usesUniversalTime = universal
            $0.timeFormat = format
        }
    }

    /// Lines written, for each module (by index) and level.
    static var counts: [[Int]] { state.withLock { $0.counts } }

    /// The newest `limit` lines, oldest first.
    static func recent(limit: Int) -> [LogRecord] {
        state.withLock { Array($0.recent.ordered.suffix(max(0, limit))) }
    }

    /// What collectors have not been told yet: warnings and worse since the last call, oldest first, and how many
    /// more there were. What telemetry itself says is never among them, or each record would cause the next.
    static func takeUntold() -> (lines: [LogRecord], lost: Int) {
        state.withLock { state in
            let taken = state.untold.takeAll()
            return (taken.items, taken.lost)
        }
    }

    /// Writes a line and keeps it.
    ///
    /// - Parameter isTold: collectors of telemetry are told, if the line is grave.
    static func put(
        _ module: LogModule, _ level: LogLevel, _ text: String, _ file: StaticString, _ line: Int, isTold: Bool = true
    ) {
        var moment = timespec()
        clock_gettime(CLOCK_REALTIME, &moment)
        let time = Int64(moment.tv_sec) * 1_000_000 + Int64(moment.tv_nsec) / 1000
        let text = oneLine(text)
        let kept = text.utf8.count <= recentTextMaximum ? text : String(text.prefix(recentTextMaximum))
        let record = LogRecord(module: module, level: level, text: kept, file: file, line: line, time: time)
        let (setting, isUniversal, format) = state.withLock { state -> (Setting, Bool, String?) in
            state.counts[module.index][level.rawValue] += 1
            state.recent.append(record)
            if isTold, module != .flow, level.rawValue >= LogLevel.warning.rawValue { state.untold.append(record) }
            let own = state.modules[module.index]
            let setting = Setting(
                includeTimestamp: own.includeTimestamp ?? state.fallback.includeTimestamp,
                includeSource: own.includeSource ?? state.fallback.includeSource,
                output: own.output ?? state.fallback.output)
            return (setting, state.usesUniversalTime, state.timeFormat)
        }
        var result = ""
        if setting.includeTimestamp ?? true { result = timestamp(moment, isUniversal, format) + " " }
        result += "\(module.name) (\(level.name)) \(text)"
        if setting.includeSource ?? false { result += " (\(file):\(line))" }
        result += "\n"
        if let output = setting.output {
            output.write(result, level)
        } else {
            result.withUTF8 { _ = Glibc.write(2, $0.baseAddress, $0.count) }
        }
    }

    /// Names that peers give stand in many lines: what would end a line, or what a terminal acts on, is escaped.
    static func oneLine(_ text: String) -> String {
        // Beyond ASCII only U+0080 to U+009F are controls.
        guard text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f || $0 == 0xc2 }) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0..<0x20, 0x7f...0x9f: result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func timestamp(_ moment: timespec, _ isUniversal: Bool, _ format: String?) -> String {
        var parts = tm()
        var seconds = moment.tv_sec
        if isUniversal {
            gmtime_r(&seconds, &parts)
        } else {
            localtime_r(&seconds, &parts)
        }
        if let format { return formatted(format, &parts) }
        let micro = String(1_000_000 + moment.tv_nsec / 1000).dropFirst()
        return formatted("%Y-%m-%d %H:%M:%S", &parts) + ".\(micro) " + formatted("%z", &parts)
    }

    private static func formatted(_ format: String, _ parts: inout tm) -> String {
        var text = [CChar](repeating: 0, count: 128)
        let length = strftime(&text, text.count, format, &parts)
        return String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
