import AMQPCodec
import Glibc
import RouterConfig

/// `log` entities and the two kinds of rows that come from the log itself.
extension Core {
    /// Puts a `log` entity into force. Throws if its file cannot be opened; nothing has changed then.
    func applyLog(_ entity: Entity) throws(EntityFailure) {
        let name = entity[string: "module"] ?? "DEFAULT"
        let module = LogModule(name: name)
        guard name == "DEFAULT" || module != nil else { return }
        var setting = LogSettings.Setting(
            levels: LogLevels(enable: entity[string: "enable"]), includeTimestamp: entity.boolean("includeTimestamp"),
            includeSource: entity.boolean("includeSource"))
        if let path = entity[string: "outputFile"] {
            setting.output = LogSettings.output(path)
            guard setting.output != nil else {
                throw EntityFailure(
                    status: 500,
                    text: "log '\(name)': cannot open log file '\(path)': \(String(cString: strerror(errno))); "
                        + "name a file in a writable directory, or stderr")
            }
        }
        let tracedBefore = Log.isEnabled(.protocolTrace, .debug)
        LogSettings.set(setting, for: module)
        let isTraced = Log.isEnabled(.protocolTrace, .debug)
        guard isTraced != tracedBefore else { return }
        // Connections that begin meanwhile look at the level themselves.
        for worker in workers { worker.post { worker.traceFrames(isTraced) } }
    }

    /// What a listener's or connector's `messageLoggingComponents` asks for, and words in it that ask for nothing.
    func loggedParts(_ entity: Entity) -> (parts: MessageParts, unknown: [String]) {
        MessageParts.named(by: entity[string: "messageLoggingComponents"] ?? "none")
    }

    /// Says which words of a listener's or connector's `messageLoggingComponents` ask for nothing.
    func warnOfLoggedParts(_ entity: Entity) {
        let unknown = loggedParts(entity).unknown
        guard !unknown.isEmpty else { return }
        let words = MessageText.quoted(unknown.joined(separator: ",").utf8, limit: 200)
        Log.write(
            .connectionManager, .warning,
            "\(entity.type) '\(entity.name)': messageLoggingComponents: '\(words)' is no part of a message and is "
                + "passed over; give none, all, or names such as subject,app-properties, without spaces")
    }

    /// Rows of `logStats`.
    func logStatisticsRows(_ type: EntityType) -> [[String: AMQPValue]] {
        let counts = LogSettings.counts
        return LogModule.allCases.map { module in
            let own = counts[module.index]
            func count(_ level: LogLevel) -> AMQPValue { .long(Int64(own[level.rawValue])) }
            return [
                "name": .string("logStats/\(module.name)"), "identity": .string("logStats/\(module.name)"),
                "type": .string(type.longName), "debugCount": count(.debug), "infoCount": count(.info),
                "noticeCount": .long(0), "warningCount": count(.warning), "errorCount": count(.error),
                "criticalCount": count(.critical),
            ]
        }
    }

    /// The answer to GET-LOG: lists of module, level, text, source file, line and time in seconds.
    func recentLog(limit: Int) -> AMQPValue {
        .list(
            LogSettings.recent(limit: limit).map { record in
                .list([
                    .string(record.module.name), .string(record.level.name), .string(record.text),
                    .string("\(record.file)"), .int(Int32(clamping: record.line)),
                    .long(record.time / 1_000_000),
                ])
            })
    }
}
