import Glibc

/// Follows HTTP/1.0 and 1.1 (RFC 9112) on one connection: which requests and responses pass, and how long they are.
///
/// Bodies are passed over where they lie. Only a line that is cut by the end of a read is copied, up to
/// ``lineMaximum`` octets in each direction.
final class HTTP1Observer {
    /// Octets of a line; a longer header is passed over, any other longer line is not HTTP.
    static let lineMaximum = 8192
    /// Octets of a message's start line and headers, or of its trailers.
    static let headMaximum = 65_536
    /// Requests without a response yet.
    static let pipelineMaximum = 128
    /// Octets of a method.
    private static let methodMaximum = 32
    /// Octets kept of a response's reason.
    private static let reasonMaximum = 255

    /// A request and where its messages stand.
    private final class Transaction {
        let exchange: Exchange
        let isHead: Bool
        let isConnect: Bool
        var status = 0
        var isRequestDone = false
        var isResponseDone = false

        init(_ exchange: Exchange, method: String) {
            self.exchange = exchange
            isHead = method == "HEAD"
            isConnect = method == "CONNECT"
        }
    }

    private enum Part {
        case start, header, chunkSize, chunkEnd, trailer, untilClose
        case body(left: UInt64)
        case chunk(left: UInt64)
    }

    /// One direction.
    private struct Reader {
        let isClient: Bool
        var part = Part.start
        /// The beginning of a line whose end has not come yet.
        var line: [UInt8] = []
        /// The rest of the line is passed over.
        var isPassingLine = false
        var headOctets = 0
        var transaction: Transaction?
        var isVersion10 = false
        var contentLength: UInt64?
        var hasTransferEncoding = false
        var isChunked = false
    }

    private let log: ExchangeLog
    private var client = Reader(isClient: true)
    private var server = Reader(isClient: false)
    /// In the order of the requests.
    private var open: [Transaction] = []

    init(log: ExchangeLog) { self.log = log }

    /// Looks at octets that pass; false = this is not HTTP/1, or no longer, and nothing more can be said.
    func observe(fromClient: Bool, _ octets: OctetCursor) -> Bool {
        fromClient ? run(&client, octets) : run(&server, octets)
    }

    /// Tells what is new of the requests under way.
    func tellChanges() { for transaction in open { log.tellChange(of: transaction.exchange) } }

    /// The connection has closed, or observation ends.
    func end() {
        for transaction in open { log.end(transaction.exchange) }
        open = []
    }

    private func run(_ reader: inout Reader, _ octets: OctetCursor) -> Bool {
        var rest = octets
        while !rest.isEmpty {
            switch reader.part {
            case .untilClose:
                count(reader, rest.count)
                return true
            case .body(let left):
                let taken = pass(reader, &rest, left)
                reader.part = .body(left: left - taken)
                if taken == left, !messageDone(&reader) { return false }
            case .chunk(let left):
                let taken = pass(reader, &rest, left)
                reader.part = taken == left ? .chunkEnd : .chunk(left: left - taken)
            case .start, .header, .chunkSize, .chunkEnd, .trailer:
                guard nextLine(&reader, &rest) else { return false }
            }
        }
        return true
    }

    // MARK: Bodies

    private func pass(_ reader: Reader, _ rest: inout OctetCursor, _ left: UInt64) -> UInt64 {
        let taken = min(left, UInt64(rest.count))
        rest.take(Int(taken))
        count(reader, Int(taken))
        return taken
    }

    private func count(_ reader: Reader, _ octets: Int) {
        guard let exchange = reader.transaction?.exchange else { return }
        if reader.isClient {
            exchange.report.octets &+= UInt64(octets)
        } else {
            exchange.report.octetsReverse &+= UInt64(octets)
        }
    }

    // MARK: Lines

    /// Takes the octets up to the next line's end, or all there are.
    private func nextLine(_ reader: inout Reader, _ rest: inout OctetCursor) -> Bool {
        guard let end = memchr(rest.start, 0x0A, rest.count) else {
            let piece = rest.take(rest.count)
            return keep(piece, of: &reader)
        }
        let piece = UnsafeRawBufferPointer(rebasing: rest.take(UnsafeRawPointer(end) - rest.start + 1).dropLast())
        reader.headOctets += 1
        if !reader.line.isEmpty || reader.isPassingLine {
            guard keep(piece, of: &reader) else { return false }
            let line = reader.line
            reader.line.removeAll(keepingCapacity: true)
            if reader.isPassingLine {
                reader.isPassingLine = false
                return true
            }
            return line.withUnsafeBytes { handle($0, &reader) }
        }
        reader.headOctets += piece.count
        guard reader.headOctets <= HTTP1Observer.headMaximum else { return false }
        if piece.count > HTTP1Observer.lineMaximum { return mayPassLine(reader) }
        return handle(piece, &reader)
    }

    /// A long header or trailer is of no interest; no other line may be long.
    private func mayPassLine(_ reader: Reader) -> Bool {
        switch reader.part {
        case .header, .trailer: true
        default: false
        }
    }

    /// A part of a line without its end.
    private func keep(_ piece: UnsafeRawBufferPointer, of reader: inout Reader) -> Bool {
        reader.headOctets += piece.count
        guard reader.headOctets <= HTTP1Observer.headMaximum else { return false }
        if reader.isPassingLine { return true }
        guard reader.line.count + piece.count <= HTTP1Observer.lineMaximum else {
            reader.line = []
            reader.isPassingLine = true
            return mayPassLine(reader)
        }
        reader.line.append(contentsOf: piece)
        guard case .start = reader.part else { return true }
        return reader.line.withUnsafeBytes { mayStart($0, isClient: reader.isClient) }
    }

    /// Whether a message may begin with this part of a line: other protocols are known for what they are at once.
    private func mayStart(_ line: UnsafeRawBufferPointer, isClient: Bool) -> Bool {
        if line.first == 0x0D { return line.count == 1 }
        guard isClient else {
            return zip(line, "HTTP/1.".utf8).allSatisfy { $0 == $1 }
        }
        let method = line.prefix { $0 != 0x20 }
        return method.count <= HTTP1Observer.methodMaximum && method.allSatisfy(isToken)
    }

    /// RFC 9110, section 5.6.2.
    private func isToken(_ octet: UInt8) -> Bool {
        switch octet {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: "!#$%&'*+-.^_`|~".utf8.contains(octet)
        }
    }

    /// A whole line, which may still have a carriage return at its end.
    private func handle(_ whole: UnsafeRawBufferPointer, _ reader: inout Reader) -> Bool {
        let line = whole.last == 0x0D ? UnsafeRawBufferPointer(rebasing: whole.dropLast()) : whole
        switch reader.part {
        case .start:
            if line.isEmpty { return true }
            return reader.isClient ? request(line, &reader) : response(line, &reader)
        case .header:
            return line.isEmpty ? headDone(&reader) : header(line, &reader)
        case .chunkSize:
            guard let size = chunkSize(line) else { return false }
            reader.headOctets = 0
            reader.part = size == 0 ? .trailer : .chunk(left: size)
            return true
        case .chunkEnd:
            reader.part = .chunkSize
            return line.isEmpty
        case .trailer:
            return line.isEmpty ? messageDone(&reader) : true
        case .body, .chunk, .untilClose:
            return false
        }
    }

    private func chunkSize(_ line: UnsafeRawBufferPointer) -> UInt64? {
        let digits = line.prefix { $0 != UInt8(ascii: ";") && $0 != 0x20 && $0 != 0x09 }
        guard (1...15).contains(digits.count) else { return nil }
        var size: UInt64 = 0
        for octet in digits {
            switch octet {
            case 0x30...0x39: size = size << 4 | UInt64(octet - 0x30)
            case 0x41...0x46: size = size << 4 | UInt64(octet - 0x37)
            case 0x61...0x66: size = size << 4 | UInt64(octet - 0x57)
            default: return nil
            }
        }
        return size
    }

    // MARK: Start lines

    /// True for HTTP/1.0, false for HTTP/1.1, nil for anything else.
    private func isVersion10(_ text: Slice<UnsafeRawBufferPointer>) -> Bool? {
        if text.elementsEqual("HTTP/1.1".utf8) { return false }
        return text.elementsEqual("HTTP/1.0".utf8) ? true : nil
    }

    private func request(_ line: UnsafeRawBufferPointer, _ reader: inout Reader) -> Bool {
        guard mayStart(line, isClient: true), let first = line.firstIndex(of: 0x20), first > 0,
            let last = line.lastIndex(of: 0x20), last > first + 1,
            let isVersion10 = isVersion10(line[(last + 1)...]), open.count < HTTP1Observer.pipelineMaximum
        else { return false }
        let method = String(decoding: line[..<first], as: UTF8.self)
        let exchange = log.begin(isVersion10 ? "HTTP/1.0" : "HTTP/1.1")
        exchange.report.method = method
        let transaction = Transaction(exchange, method: method)
        open.append(transaction)
        reader.transaction = transaction
        reader.isVersion10 = isVersion10
        reader.part = .header
        return true
    }

    private func response(_ line: UnsafeRawBufferPointer, _ reader: inout Reader) -> Bool {
        guard line.count >= 12, line[8] == 0x20, let isVersion10 = isVersion10(line[..<8]),
            line.count == 12 || line[12] == 0x20,
            let transaction = open.first(where: { !$0.isResponseDone })
        else { return false }
        var status = 0
        for octet in line[9..<12] {
            guard (0x30...0x39).contains(octet) else { return false }
            status = status * 10 + Int(octet - 0x30)
        }
        guard status >= 100 else { return false }
        log.answered(transaction.exchange)
        transaction.status = status
        if status >= 200 || status == 101 {
            transaction.exchange.report.result = String(status)
            let reason = trimmed(line[12...]).prefix(HTTP1Observer.reasonMaximum)
            transaction.exchange.report.reason = String(decoding: reason, as: UTF8.self)
        }
        reader.transaction = transaction
        reader.isVersion10 = isVersion10
        reader.part = .header
        return true
    }

    // MARK: Headers

    private func trimmed(_ text: Slice<UnsafeRawBufferPointer>) -> Slice<UnsafeRawBufferPointer> {
        var text = text
        while let last = text.last, last == 0x20 || last == 0x09 { text.removeLast() }
        return text.drop { $0 == 0x20 || $0 == 0x09 }
    }

    private func isName(_ name: Slice<UnsafeRawBufferPointer>, _ known: StaticString) -> Bool {
        guard name.count == known.utf8CodeUnitCount, let start = name.base.baseAddress else { return false }
        return strncasecmp(
            (start + name.startIndex).assumingMemoryBound(to: CChar.self),
            UnsafeRawPointer(known.utf8Start).assumingMemoryBound(to: CChar.self), name.count) == 0
    }

    private func header(_ line: UnsafeRawBufferPointer, _ reader: inout Reader) -> Bool {
        // A folded line goes on with a header that may be of no interest; one without a colon is none.
        guard line.first != 0x20, line.first != 0x09, let colon = line.firstIndex(of: UInt8(ascii: ":")) else {
            return true
        }
        let name = line[..<colon]
        let value = trimmed(line[(colon + 1)...])
        if isName(name, "content-length") {
            guard (1...18).contains(value.count), value.allSatisfy({ (0x30...0x39).contains($0) }) else { return false }
            let length = value.reduce(UInt64(0)) { $0 * 10 + UInt64($1 - 0x30) }
            // Two that differ are an attack on somebody who believes one of them.
            if let known = reader.contentLength, known != length { return false }
            reader.contentLength = length
        } else if !reader.isVersion10, isName(name, "transfer-encoding") {
            reader.hasTransferEncoding = true
            for coding in value.split(separator: UInt8(ascii: ",")) where isName(trimmed(coding), "chunked") {
                reader.isChunked = true
            }
        } else if reader.isClient, isName(name, "x-forwarded-for") {
            reader.transaction?.exchange.noteForwarded(UnsafeRawBufferPointer(rebasing: value))
        }
        return true
    }

    /// How long the body is (RFC 9112, section 6.3).
    private func headDone(_ reader: inout Reader) -> Bool {
        reader.headOctets = 0
        guard let transaction = reader.transaction else { return false }
        if !reader.isClient {
            // From here on the connection speaks something else.
            if transaction.status == 101 { return false }
            if transaction.isConnect, transaction.status / 100 == 2 {
                _ = messageDone(&reader)
                return false
            }
            if transaction.isHead || transaction.status < 200 || transaction.status == 204 || transaction.status == 304
            {
                return messageDone(&reader)
            }
        }
        if reader.hasTransferEncoding {
            if reader.isChunked {
                reader.part = .chunkSize
                return true
            }
            reader.part = .untilClose
            return !reader.isClient
        }
        guard let length = reader.contentLength else {
            if reader.isClient { return messageDone(&reader) }
            reader.part = .untilClose
            return true
        }
        if length == 0 { return messageDone(&reader) }
        reader.part = .body(left: length)
        return true
    }

    private func messageDone(_ reader: inout Reader) -> Bool {
        guard let transaction = reader.transaction else { return false }
        let isClient = reader.isClient
        reader = Reader(isClient: isClient)
        if isClient { transaction.isRequestDone = true } else { transaction.isResponseDone = transaction.status >= 200 }
        if transaction.isRequestDone, transaction.isResponseDone {
            open.removeAll { $0 === transaction }
            log.end(transaction.exchange)
        }
        return true
    }
}
