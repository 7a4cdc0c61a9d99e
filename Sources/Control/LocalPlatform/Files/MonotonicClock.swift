import Glibc

/// Milliseconds that only go forward, for deadlines.
package enum MonotonicClock {
    /// Milliseconds since an arbitrary start.
    package static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}

/// The time of day, for records and log lines.
package enum WallClock {
    /// Whole seconds since 1970 (UTC).
    package static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec)
    }

    /// `2026-01-31T12:00:00Z` for a number of seconds since 1970.
    package static func text(_ seconds: Int64) -> String {
        var time = time_t(seconds)
        var parts = tm()
        gmtime_r(&time, &parts)
        var buffer = [CChar](repeating: 0, count: 32)
        let count = strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Seconds since 1970 of a text in RFC 3339 form with `Z` or a numeric offset; nil if it is none.
    package static func seconds(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20 else { return nil }
        func number(_ range: Range<Int>) -> Int32? {
            let digits = bytes[range]
            guard digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            return digits.reduce(0) { $0 * 10 + Int32($1 - 0x30) }
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
            let minute = number(14..<16), let second = number(17..<19), (1...12).contains(month), (1...31).contains(day),
            hour < 24, minute < 60, second <= 60, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
            bytes[10] | 0x20 == UInt8(ascii: "t"), bytes[13] == UInt8(ascii: ":"), bytes[16] == UInt8(ascii: ":")
        else { return nil }
        var parts = tm()
        (parts.tm_year, parts.tm_mon, parts.tm_mday) = (year - 1900, month - 1, day)
        (parts.tm_hour, parts.tm_min, parts.tm_sec) = (hour, minute, second)
        let time = Int64(timegm(&parts))
        var tail = bytes[19...]
        if tail.first == UInt8(ascii: ".") { tail = tail.dropFirst().drop { (0x30...0x39).contains($0) } }
        if tail.elementsEqual([UInt8(ascii: "Z")]) || tail.elementsEqual([UInt8(ascii: "z")]) { return time }
        guard let sign = tail.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-"), tail.count == 6,
            tail[tail.startIndex + 3] == UInt8(ascii: ":"),
            let hours = number(tail.startIndex + 1..<tail.startIndex + 3),
            let minutes = number(tail.startIndex + 4..<tail.startIndex + 6)
        else { return nil }
        let offset = Int64(hours * 60 + minutes) * 60
        return sign == UInt8(ascii: "+") ? time - offset : time + offset
    }
}
