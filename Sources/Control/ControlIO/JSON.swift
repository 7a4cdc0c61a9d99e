/// JSON, read and written through jansson.
package enum JSON {
    /// The value of a text; any JSON value may stand at the top. Limits: `DocumentLimits`.
    package static func parse(_ text: String) throws(DocumentError) -> Document { fatalError("declared only") }

    /// The value as text without a final newline: indented by two blanks when `pretty`, else compact.
    package static func emit(_ document: Document, pretty: Bool = true, sortedKeys: Bool = true) -> String {
        fatalError("declared only")
    }
}
