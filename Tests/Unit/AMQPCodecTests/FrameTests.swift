import Testing

@testable import AMQPCodec
