import AMQPCodec
import Glibc

/// A routing message read back from its octets.
struct DecodedMessage: Equatable {
    var ingress: String
    var trace: [String]
    var to: String
    var opcode: String
    var body: AMQPValue
}

struct WireError: Error {
    var what: String
}

/// Reads messages independently of the encoder under test, by the type table of AMQP 1.0 part 1.
struct WireReader {
    private let octets: [UInt8]
    private var at = 0

    init(_ octets: [UInt8]) { self.octets = octets }

    static func message(_ octets: [UInt8]) throws -> DecodedMessage {
        var reader = WireReader(octets)
        var message = DecodedMessage(ingress: "", trace: [], to: "", opcode: "", body: .null)
        while reader.at < octets.count {
            let code = try reader.descriptor()
            let value = try reader.value()
            switch (code, value) {
            case (0x534B_5052_2D2D_5241, .list(let fields)) where fields.count >= 4:
                if case .string(let ingress) = fields[2] { message.ingress = ingress }
                if case .list(let trace) = fields[3] {
                    message.trace = trace.compactMap { if case .string(let hop) = $0 { hop } else { nil } }
                }
            case (0x73, .list(let fields)) where fields.count >= 3:
                if case .string(let to) = fields[2] { message.to = to }
            case (0x74, .map(let entries)):
                if case .string(let opcode)? = entries.first?.value { message.opcode = opcode }
            case (0x77, let body): message.body = body
            case (0x70, .list): break
            default: throw WireError(what: "unexpected section \(code)")
            }
        }
        return message
    }

    private mutating func take(_ count: Int) throws -> ArraySlice<UInt8> {
        guard count >= 0, count <= octets.count - at else { throw WireError(what: "truncated at \(at)") }
        defer { at += count }
        return octets[at..<at + count]
    }

    private mutating func number(_ count: Int) throws -> UInt64 {
        try take(count).reduce(0) { $0 << 8 | UInt64($1) }
    }

    private mutating func descriptor() throws -> UInt64 {
        guard try number(1) == 0 else { throw WireError(what: "no descriptor at \(at)") }
        switch try number(1) {
        case 0x53: return try number(1)
        case 0x80: return try number(8)
        default: throw WireError(what: "descriptor form at \(at)")
        }
    }

    private mutating func text(_ sizeOctets: Int) throws -> String {
        String(decoding: try take(Int(try number(sizeOctets))), as: UTF8.self)
    }

    private mutating func items(_ sizeOctets: Int) throws -> [AMQPValue] {
        let size = Int(try number(sizeOctets))
        let end = at + size
        let count = Int(try number(sizeOctets))
        var items: [AMQPValue] = []
        for _ in 0..<count { items.append(try value()) }
        guard at == end else { throw WireError(what: "size \(size) of a compound is wrong at \(at)") }
        return items
    }

    private func map(_ items: [AMQPValue]) -> AMQPValue {
        .map(stride(from: 0, to: items.count - 1, by: 2).map { MapEntry(key: items[$0], value: items[$0 + 1]) })
    }

    private mutating func value() throws -> AMQPValue {
        let code = try number(1)
        switch code {
        case 0x40: return .null
        case 0x41: return .bool(true)
        case 0x42: return .bool(false)
        case 0x43: return .uint(0)
        case 0x45: return .list([])
        case 0x52: return .uint(UInt32(try number(1)))
        case 0x54: return .int(Int32(Int8(truncatingIfNeeded: try number(1))))
        case 0x55: return .long(Int64(Int8(truncatingIfNeeded: try number(1))))
        case 0x70: return .uint(UInt32(try number(4)))
        case 0x71: return .int(Int32(truncatingIfNeeded: try number(4)))
        case 0x81: return .long(Int64(bitPattern: try number(8)))
        case 0xA1: return .string(try text(1))
        case 0xB1: return .string(try text(4))
        case 0xA3: return .symbol(try text(1))
        case 0xB3: return .symbol(try text(4))
        case 0xC0: return .list(try items(1))
        case 0xD0: return .list(try items(4))
        case 0xC1: return map(try items(1))
        case 0xD1: return map(try items(4))
        default: throw WireError(what: "constructor \(code) at \(at)")
        }
    }
}

/// Reads a message with the codec, as a router does.
func codecMessage(_ octets: [UInt8]) throws -> DecodedMessage {
    try octets.withUnsafeBytes { buffer in
        guard case .head(let head) = try MessageHead.scan(buffer, complete: true) else {
            throw WireError(what: "no whole head")
        }
        var reader = ByteReader(buffer)
        try reader.skip(head.bodyOffset)
        guard try reader.describedType() == 0x77 else { throw WireError(what: "body is no amqp-value") }
        return DecodedMessage(
            ingress: head.annotations?.ingress ?? "", trace: head.annotations?.trace ?? [],
            to: head.properties?.to ?? "",
            opcode: head.applicationProperties.value(for: "opcode")?.stringValue ?? "",
            body: try AMQPValue.decode(from: &reader))
    }
}

/// Seeded generator (SplitMix64); the same seed gives the same numbers everywhere.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
}

/// Lines of a file below `Tests/Topologies`, without comments and empty lines.
func catalogueLines(_ name: String, source: String = #filePath) throws -> [String] {
    let tests = source.split(separator: "/").dropLast(3).joined(separator: "/")
    let path = "/" + tests + "/Topologies/" + name
    guard let file = fopen(path, "r") else { throw WireError(what: "cannot open \(path)") }
    defer { fclose(file) }
    var content: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = fread(&buffer, 1, buffer.count, file)
        if count == 0 { break }
        content += buffer[..<count]
    }
    return String(decoding: content, as: UTF8.self).split(separator: "\n").map(String.init).filter {
        !$0.hasPrefix("#")
    }
}
