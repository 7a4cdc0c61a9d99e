/// Why a YAML or JSON text could not be read.
package struct DocumentError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of fault it is.
    package enum Kind: Hashable, Sendable {
        /// The text breaks the grammar of YAML or JSON.
        case syntax
        /// The text is larger than `DocumentLimits` allows.
        case tooLarge
        /// Lists and maps are nested deeper than `DocumentLimits` allows.
        case tooDeep
        /// Aliases would expand to more nodes than `DocumentLimits` allows.
        case tooManyNodes
        /// An alias names an anchor that was not defined, a map key is not a scalar, or a key is repeated.
        case invalidStructure
    }

    /// What kind of fault it is.
    package let kind: Kind
    /// Line of the fault, counted from 1; 0 when unknown.
    package let line: Int
    /// Column of the fault, counted from 1; 0 when unknown.
    package let column: Int
    /// What is wrong and what to do, one sentence without the place.
    package let detail: String

    /// A fault at a place.
    package init(kind: Kind, line: Int, column: Int, detail: String) {
        self.kind = kind
        self.line = line
        self.column = column
        self.detail = detail
    }

    /// The detail with the place in front.
    package var description: String {
        line > 0 ? "line \(line), column \(column): \(detail)" : detail
    }
}

/// Bounds on what the parsers accept.
package enum DocumentLimits {
    /// Largest text, bytes.
    package static let maximumBytes = 4 * 1024 * 1024
    /// Deepest nesting of lists and maps.
    package static let maximumDepth = 64
    /// Most nodes of all documents of one text, aliases expanded.
    package static let maximumNodes = 200_000
}
