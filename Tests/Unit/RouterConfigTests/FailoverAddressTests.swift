import RouterConfig
import Testing

/// The URLs of `failoverUrls`.
@Suite struct FailoverAddressTests {
    @Test(arguments: [
        ("", []), ("b", ["amqp://b:5672"]), ("amqp://b:5000", ["amqp://b:5000"]), ("amqps://b", ["amqps://b:5671"]),
        (" amqp://b , c:amqps,", ["amqp://b:5672", "amqp://c:amqps"]),
        ("amqp://[fe80::1]:5000,[::1]", ["amqp://[fe80::1]:5000", "amqp://[::1]:5672"]),
    ])
    func lists(text: String, urls: [String]) throws {
        #expect(try FailoverAddress.list(text).map(\.url) == urls)
    }

    @Test(arguments: [
        "amqp://", ":5672", "b:", "b:x", "b:0", "b:65536", "http://b", "[::1", "[::1]5672", "[]:5672", "fe80::1",
    ])
    func faults(text: String) {
        #expect(throws: FailoverAddress.Fault(item: text)) { try FailoverAddress.list("a," + text) }
    }

    @Test func aFaultyListIsRefusedWithItsListener() throws {
        #expect(
            throws: ConfigError.badValue(
                type: "listener", attribute: "failoverUrls", value: "b,amqp://",
                expected: "URLs such as amqp://host:5672, separated by commas")
        ) {
            try Schema.validate(type: "listener", attributes: ["failoverUrls": "b,amqp://"], for: .create)
        }
        _ = try Schema.validate(type: "listener", attributes: ["failoverUrls": "b, amqps://c"], for: .create)
    }
}
