/// A frame of the SASL layer (part 5, section 5.3).
package enum SASLFrame: Equatable, Sendable {
    case mechanisms([String])
    case initialize(mechanism: String, initialResponse: [UInt8]?, hostname: String?)
    case challenge([UInt8])
    case response([UInt8])
    /// 0 = success.
    case outcome(code: UInt8)

    /// Appends descriptor and fields, without a frame header.
    package func encode(into encoder: inout AMQPEncoder) {
        switch self {
        case .mechanisms(let names):
            encoder.described(0x40)
            encoder.fields([.symbols(names)])
        case .initialize(let mechanism, let response, let hostname):
            encoder.described(0x41)
            encoder.fields([
                .symbol(mechanism), .optional(response) { .binary($0) }, .optional(hostname) { .string($0) },
            ])
        case .challenge(let bytes):
            encoder.described(0x42)
            encoder.fields([.binary(bytes)])
        case .response(let bytes):
            encoder.described(0x43)
            encoder.fields([.binary(bytes)])
        case .outcome(let code):
            encoder.described(0x44)
            encoder.fields([.ubyte(code)])
        }
    }

    /// Decodes one frame body.
    package static func decode(from reader: inout ByteReader) throws(DecodeError) -> SASLFrame {
        guard try reader.u8() == 0x00 else { throw .badType("SASL frame body that is no described type") }
        let descriptor = try ByteReader.descriptor(&reader)
        var fields = try FieldReader(&reader)
        switch descriptor {
        case 0x40: return .mechanisms(try fields.symbols("mechanisms"))
        case 0x41:
            guard let mechanism = try fields.text("mechanism") else { throw .missingField("mechanism") }
            let response = try fields.binary("initial-response").map { Array($0) }
            return .initialize(mechanism: mechanism, initialResponse: response, hostname: try fields.text("hostname"))
        case 0x42: return .challenge(try fields.binary("challenge").map { Array($0) } ?? [])
        case 0x43: return .response(try fields.binary("response").map { Array($0) } ?? [])
        case 0x44:
            guard let code = try fields.ubyte("code") else { throw .missingField("code") }
            return .outcome(code: code)
        default: throw .badDescriptor(descriptor)
        }
    }
}
