import Testing

@testable import AMQPEndpoints
