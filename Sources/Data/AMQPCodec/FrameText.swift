/// A frame as one line of text for people (AMQP 1.0 part 2, section 2.3; part 5, section 5.3).
///
/// `@attach(18) [name="x", handle=0, role=receiver, source=@source(40) [address="a"]]`: performatives and fields have
/// the names of the specification, fields without value are left out. What a peer sends cannot make the text long,
/// nor break the line: each string and the whole have limits, and octets that a terminal might act on are escaped.
///
/// Not shown are the payload of transfers, which is other people's data, and every octet of SASL that may be a secret.
package enum FrameText {
    /// Octets of the whole text, without the mark that it was cut.
    package static let maximum = 1800
    /// Characters shown of one string or symbol.
    static let stringMaximum = 256
    /// Octets shown of one binary value.
    static let binaryMaximum = 32

    /// The text of a frame or of a protocol header.
    ///
    /// - Parameter frame: The frame from its header on. Of a transfer the payload may be missing; its length is told
    ///   from the header.
    package static func text(of frame: UnsafeRawBufferPointer) -> String {
        guard let base = frame.baseAddress, frame.count >= FrameHeader.size else {
            return "\(frame.count) octets, which are no frame"
        }
        if frame.prefix(4).elementsEqual(amqpHeader.prefix(4)) { return protocolHeader(frame) }
        let header = FrameHeader.decode(base)
        let start = Int(header.doff) * 4
        guard start >= FrameHeader.size, start <= frame.count else {
            return "frame of \(header.size) octets with data offset \(header.doff)"
        }
        var body = ByteReader(UnsafeRawBufferPointer(rebasing: frame[start...]))
        guard body.remaining > 0 else { return "empty frame" }
        do throws(DecodeError) {
            let descriptor = try body.describedType()
            if header.type == 1, !isSASL(descriptor) { return "SASL frame of \(header.size) octets, unknown" }
            var writer = BoundedText(maximum: maximum)
            writer.composite(descriptor, try AMQPValue.decode(from: &body))
            var text = writer.finished
            let payload = Int(header.size) - start - body.offset
            if payload > 0 { text += " payload of \(payload) octets" }
            return text
        } catch {
            // The reason may name an octet, which of SASL may be one of a secret.
            let reason = header.type == 1 ? "" : ": \(error)"
            return "frame of \(header.size) octets, undecodable\(reason)"
        }
    }

    private static func protocolHeader(_ octets: UnsafeRawBufferPointer) -> String {
        let layer: String
        switch octets[4] {
        case 0: layer = "AMQP"
        case 2: layer = "TLS"
        case 3: layer = "SASL"
        default: layer = "protocol \(octets[4])"
        }
        return "header \(layer) \(octets[5]).\(octets[6]).\(octets[7])"
    }

    /// Name and fields of a composite type of the specification; nil for others.
    static func shape(_ descriptor: UInt64) -> (name: String, fields: [String])? {
        let line: String
        switch descriptor {
        case 0x10:
            line = "open container-id hostname max-frame-size channel-max idle-time-out outgoing-locales "
                + "incoming-locales offered-capabilities desired-capabilities properties"
        case 0x11:
            line = "begin remote-channel next-outgoing-id incoming-window outgoing-window handle-max "
                + "offered-capabilities desired-capabilities properties"
        case 0x12:
            line = "attach name handle role snd-settle-mode rcv-settle-mode source target unsettled "
                + "incomplete-unsettled initial-delivery-count max-message-size offered-capabilities "
                + "desired-capabilities properties"
        case 0x13:
            line = "flow next-incoming-id incoming-window next-outgoing-id outgoing-window handle delivery-count "
                + "link-credit available drain echo properties"
        case 0x14:
            line = "transfer handle delivery-id delivery-tag message-format settled more rcv-settle-mode state resume "
                + "aborted batchable"
        case 0x15: line = "disposition role first last settled state batchable"
        case 0x16: line = "detach handle closed error"
        case 0x17: line = "end error"
        case 0x18: line = "close error"
        case 0x1d: line = "error condition description info"
        case 0x23: line = "received section-number section-offset"
        case 0x24: line = "accepted"
        case 0x25: line = "rejected error"
        case 0x26: line = "released"
        case 0x27: line = "modified delivery-failed undeliverable-here message-annotations"
        case 0x28:
            line = "source address durable expiry-policy timeout dynamic dynamic-node-properties distribution-mode "
                + "filter default-outcome outcomes capabilities"
        case 0x29:
            line = "target address durable expiry-policy timeout dynamic dynamic-node-properties capabilities"
        case 0x30: line = "coordinator capabilities"
        case 0x40: line = "sasl-mechanisms sasl-server-mechanisms"
        case 0x41: line = "sasl-init mechanism initial-response hostname"
        case 0x42: line = "sasl-challenge challenge"
        case 0x43: line = "sasl-response response"
        case 0x44: line = "sasl-outcome code additional-data"
        default: return nil
        }
        let words = line.split(separator: " ").map(String.init)
        return (words[0], Array(words.dropFirst()))
    }

    /// Whether the composite type is a SASL frame.
    static func isSASL(_ descriptor: UInt64) -> Bool { (0x40...0x44).contains(descriptor) }

    /// Whether a field of a SASL frame can be no secret, even if its sender put the fields into a wrong order.
    static func isPublic(_ value: AMQPValue, saslField name: String?) -> Bool {
        switch (name, value) {
        case ("mechanism", .symbol(let text)), ("mechanism", .string(let text)):
            // RFC 4422, section 3.1.
            return text.utf8.count <= 20 && text.utf8.allSatisfy { octet in
                (0x41...0x5a).contains(octet) || (0x30...0x39).contains(octet) || octet == 0x2d || octet == 0x5f
            }
        case ("sasl-server-mechanisms", _), ("hostname", .string): return true
        case ("code", _): return value.uintValue != nil
        default: return false
        }
    }

    /// A value whose numbers or flags stand for words; nil for all others.
    static func word(_ value: AMQPValue, field: String) -> String? {
        switch (field, value.uintValue, value.boolValue) {
        case ("role", _, let isReceiver?): isReceiver ? "receiver" : "sender"
        case ("snd-settle-mode", 0, _): "unsettled"
        case ("snd-settle-mode", 1, _): "settled"
        case ("snd-settle-mode", 2, _): "mixed"
        case ("rcv-settle-mode", 0, _): "first"
        case ("rcv-settle-mode", 1, _): "second"
        default: nil
        }
    }
}

/// Text that takes nothing more once it would be longer than its limit.
struct BoundedText {
    /// Octets.
    let maximum: Int
    private var text = ""
    private var length = 0
    private(set) var isFull = false

    init(maximum: Int) { self.maximum = maximum }

    /// What was written, with a mark if something is missing.
    var finished: String { isFull ? text + " … (cut)" : text }

    mutating func add(_ piece: String) {
        guard !isFull else { return }
        let added = piece.utf8.count
        guard length + added <= maximum else {
            isFull = true
            return
        }
        text += piece
        length += added
    }

    /// A composite type: its name, its code and the fields that have a value.
    mutating func composite(_ descriptor: UInt64, _ value: AMQPValue) {
        let shape = FrameText.shape(descriptor)
        let isSASL = FrameText.isSASL(descriptor)
        add("@\(shape?.name ?? "unknown")(\(descriptor)) ")
        guard case .list(let fields) = value else {
            if isSASL { add("not shown") } else { add(value) }
            return
        }
        add("[")
        var isFirst = true
        for (position, field) in fields.enumerated() where field != .null {
            guard !isFull else { return }
            if !isFirst { add(", ") }
            isFirst = false
            let names = shape?.fields ?? []
            let name = position < names.count ? names[position] : nil
            add("\(name ?? String(position))=")
            if isSASL, !FrameText.isPublic(field, saslField: name) {
                add(BoundedText.hidden(field))
            } else if let name, let word = FrameText.word(field, field: name) {
                add(word)
            } else {
                add(field)
            }
        }
        add("]")
    }

    private static func hidden(_ value: AMQPValue) -> String {
        if case .binary(let octets) = value { return "\(octets.count) octets, not shown" }
        return "not shown"
    }

    private mutating func add(_ value: AMQPValue) {
        guard !isFull else { return }
        switch value {
        case .string(let string): add("\"\(BoundedText.escaped(string))\"")
        case .symbol(let string): add(":\(BoundedText.escaped(string))")
        case .list(let elements), .array(let elements): list(elements) { $0.add($1) }
        case .map(let entries): map(entries) { $0.add($1) }
        case .described(.ulong(let descriptor), let inner): composite(descriptor, inner)
        case .described(let descriptor, let inner):
            add("@")
            add(descriptor)
            add(" ")
            add(inner)
        default: add(BoundedText.scalar(value))
        }
    }

    /// Elements in brackets, each as `show` writes it.
    mutating func list(_ elements: [AMQPValue], _ show: (inout BoundedText, AMQPValue) -> Void) {
        add("[")
        for (position, element) in elements.enumerated() {
            guard !isFull else { return }
            if position > 0 { add(", ") }
            show(&self, element)
        }
        add("]")
    }

    /// Entries in braces, keys and values as `show` writes them.
    mutating func map(_ entries: [MapEntry], _ show: (inout BoundedText, AMQPValue) -> Void) {
        add("{")
        for (position, entry) in entries.enumerated() {
            guard !isFull else { return }
            if position > 0 { add(", ") }
            show(&self, entry.key)
            add("=")
            show(&self, entry.value)
        }
        add("}")
    }

    static func scalar(_ value: AMQPValue) -> String {
        switch value {
        case .bool(let flag): String(flag)
        case .ubyte, .ushort, .uint, .ulong: value.uintValue.map { String($0) } ?? ""
        case .byte, .short, .int, .long: value.intValue.map { String($0) } ?? ""
        case .float(let bits): "\(Float(bitPattern: bits))"
        case .double(let bits): "\(Double(bitPattern: bits))"
        case .char(let code): "U+\(String(code, radix: 16, uppercase: true))"
        case .timestamp(let milliseconds): String(milliseconds)
        case .uuid(let octets), .binary(let octets), .decimal(let octets): hexadecimal(octets)
        default: "null"
        }
    }

    private static func hexadecimal(_ octets: [UInt8]) -> String {
        var text = "0x"
        for octet in octets.prefix(FrameText.binaryMaximum) {
            text += (octet < 16 ? "0" : "") + String(octet, radix: 16)
        }
        return octets.count > FrameText.binaryMaximum ? text + "… (\(octets.count) octets)" : text
    }

    /// The string within its limit, with nothing in it that ends a line or that a terminal acts on.
    private static func escaped(_ string: String) -> String {
        var text = ""
        var left = FrameText.stringMaximum
        for scalar in string.unicodeScalars {
            guard left > 0 else { return text + "… (\(string.utf8.count) octets)" }
            left -= 1
            switch scalar {
            case "\"", "\\": text += "\\\(scalar)"
            case " ": text += " "
            default:
                if isPlain(scalar) {
                    text.unicodeScalars.append(scalar)
                } else {
                    text += "\\u{\(String(scalar.value, radix: 16))}"
                }
            }
        }
        return text
    }

    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return (0x21...0x7e).contains(scalar.value) }
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator,
            .spaceSeparator:
            return false
        default: return true
        }
    }
}
