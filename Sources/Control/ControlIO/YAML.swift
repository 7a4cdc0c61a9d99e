/// YAML 1.1/1.2 core schema, read and written through libyaml.
package enum YAML {
    /// All documents of a text. Quoted scalars stay strings. Empty documents are left out.
    /// Limits: `DocumentLimits`; aliases are expanded and count as the nodes they stand for.
    package static func parse(_ text: String) throws(DocumentError) -> [Document] { fatalError("declared only") }

    /// One document as block-style text that ends with a newline and has no `---` line.
    /// Multi-line strings become block literals. `sortedKeys` orders the keys of each map alphabetically.
    package static func emit(_ document: Document, sortedKeys: Bool = true) -> String { fatalError("declared only") }

    /// Several documents; a line `---` stands between them, and in front of the first when `leadingSeparator`.
    package static func emit(
        documents: [Document], sortedKeys: Bool = true, leadingSeparator: Bool = false
    ) -> String { fatalError("declared only") }
}
