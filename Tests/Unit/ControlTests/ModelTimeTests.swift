import SiteModel
import Testing

/// Durations in Go's form and RFC 3339 times.
@Suite struct ModelTimeTests {
    @Test(arguments: [
        ("15m0s", Int64(900)), ("60m", 3600), ("1h30m0s", 5400), ("1.5h", 5400), ("90s", 90), ("0", 0), ("-1m", -60),
        ("+1m", 60), ("1h1m1s", 3661), (".5m", 30), ("1.m", 60), ("1500ms", 1),
    ])
    func durationsAreRead(text: String, seconds: Int64) {
        #expect(GoDuration.parseSeconds(text) == seconds)
    }

    @Test(arguments: [
        "", "15", "m", "1x", "1m ", " 1m", "1m-1s", "--1m", ".m", "9999999999999h", "1h9223372036s9223372036s",
    ])
    func textsThatAreNoDurations(text: String) {
        #expect(GoDuration.parse(text) == nil)
    }

    @Test func smallUnits() {
        #expect(GoDuration.parse("1ns") == 1)
        #expect(GoDuration.parse("1us") == 1000)
        #expect(GoDuration.parse("1µs") == 1000)
        #expect(GoDuration.parse("2.5ms") == 2_500_000)
        #expect(GoDuration.parse("0.0000000001s") == 0)
    }

    @Test(arguments: [
        (Int64(0), "0s"), (45, "45s"), (60, "1m0s"), (900, "15m0s"), (3600, "1h0m0s"), (5400, "1h30m0s"),
        (-61, "-1m1s"),
        (360_000, "100h0m0s"),
    ])
    func durationsAreWritten(seconds: Int64, text: String) {
        #expect(GoDuration.format(seconds: seconds) == text)
        #expect(GoDuration.format(nanoseconds: seconds * 1_000_000_000) == text)
    }

    @Test(arguments: [
        (Int64(7), "7ns"), (1500, "1.5µs"), (250_000_000, "250ms"), (1_500_000_000, "1.5s"),
        (61_010_000_000, "1m1.01s"),
        (3_600_000_000_001, "1h0m0.000000001s"),
    ])
    func fractionsAreWritten(nanoseconds: Int64, text: String) {
        #expect(GoDuration.format(nanoseconds: nanoseconds) == text)
        #expect(GoDuration.parse(text) == nanoseconds)
    }

    @Test(arguments: [
        (Int64(0), "1970-01-01T00:00:00Z"), (1_764_042_363, "2025-11-25T03:46:03Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"), (4_107_542_399, "2100-02-28T23:59:59Z"), (4_107_542_400, "2100-03-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"), (-62_167_219_200, "0000-01-01T00:00:00Z"),
    ])
    func timesBothWays(unix: Int64, text: String) {
        #expect(Timestamp.format(unix: unix) == text)
        #expect(Timestamp.parse(text) == unix)
    }

    @Test func everyDayOfFourHundredYears() {
        for day in stride(from: Int64(-20_000), to: 130_000, by: 1) {
            let unix = day * 86_400 + day % 86_400
            #expect(Timestamp.parse(Timestamp.format(unix: unix)) == unix)
        }
    }

    @Test func offsetsAndFractions() {
        #expect(Timestamp.parse("1970-01-01T01:00:00+01:00") == 0)
        #expect(Timestamp.parse("1969-12-31T18:30:00-05:30") == 0)
        #expect(Timestamp.parse("1970-01-01t00:00:05.999z") == 5)
    }

    @Test(arguments: [
        "", "1970-01-01", "1970-13-01T00:00:00Z", "1970-02-29T00:00:00Z", "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:00", "1970-01-01 00:00:00Z", "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00Zx",
        "1970-01-01T00:00:00+1:00", "197O-01-01T00:00:00Z", "1970-00-01T00:00:00Z", "1970-01-00T00:00:00Z",
    ])
    func textsThatAreNoTimes(text: String) {
        #expect(Timestamp.parse(text) == nil)
    }

    @Test func timesOutOfRangeAreClamped() {
        #expect(Timestamp.format(unix: .max) == "9999-12-31T23:59:59Z")
        #expect(Timestamp.format(unix: .min) == "0000-01-01T00:00:00Z")
    }
}
