/// Why bytes could not be decoded (AMQP 1.0 part 1). Peer input always ends in one of these, never in a trap.
package enum DecodeError: Error, Equatable, Sendable {
    /// The buffer ends inside a value. In a whole frame this means the frame is malformed.
    case truncated
    /// A byte stands where a type constructor is expected, but is none that fits there.
    case badConstructor(UInt8)
    /// A well-formed value has another type or shape than the field named in the text allows.
    case badType(String)
    /// A descriptor that is unknown, repeated or out of order at this place.
    case badDescriptor(UInt64)
    /// A size or count, named in the text, exceeds the limit of this decoder.
    case tooLarge(String)
    /// A mandatory field, named in the text, is null or left out.
    case missingField(String)
    /// A string or symbol is not UTF-8.
    case badUTF8
    /// Values are nested deeper than `ByteReader.maximumDepth`.
    case tooDeep
}
