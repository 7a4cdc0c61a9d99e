/// What collectors are told of the log: warnings and worse, each line as one record that has ended already.
///
/// Lines that a module does not write make no records either. Without a collector the lines of the last second are
/// forgotten; one that comes hears at most of what was said in the second before.
extension Core {
    var logAddress: String { "mc/sfe.\(flowNames.source):0.logs" }

    /// Once a second; the log keeps ``LogSettings/untoldMaximum`` lines between two times.
    func sendLogRecords(now: Int64) {
        guard now >= telemetry.nextLogRecords else { return }
        telemetry.nextLogRecords = now + Telemetry.tick
        let (lines, lost) = LogSettings.takeUntold()
        guard hasConsumer(logAddress), !lines.isEmpty else { return }
        let parent = "\(flowNames.source):0"
        var records = lines.map { TelemetryRecord($0, id: flowNames.take(), parent: parent) }
        if lost > 0 {
            let text = "\(lost) lines were not told to collectors: more than \(LogSettings.untoldMaximum) in a second"
            Log.write(.flow, .warning, text)
            // Those that are missing were older than the rest.
            let line = LogRecord(
                module: .flow, level: .warning, text: text, file: #fileID, line: #line, time: Clock.microseconds)
            records.insert(TelemetryRecord(line, id: flowNames.take(), parent: parent), at: 0)
        }
        var next = records.makeIterator()
        sendRecords(to: logAddress) {
            var record = next.next()
            return record?.takeChanges()
        }
    }
}

extension TelemetryRecord {
    /// A line of the log (router-protocol sheet, sections 8.4 and 8.5).
    init(_ line: LogRecord, id: String, parent: String) {
        self.init(.log, id: id)
        set(.parent, parent)
        set(.startTime, line.time)
        set(.endTime, line.time)
        // The levels have the numbers of the wire.
        set(.logSeverity, Int64(line.level.rawValue))
        set(.logText, "LOG_\(line.module.name): \(line.text)")
        set(.sourceFile, "\(line.file)")
        set(.sourceLine, Int64(line.line))
    }
}
