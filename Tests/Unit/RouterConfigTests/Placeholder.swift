import Testing
@testable import RouterConfig
@Test func placeholder() { #expect(Schema.types.count > 10) }
