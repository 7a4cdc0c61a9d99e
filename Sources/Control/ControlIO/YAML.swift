import CLibyaml

/// YAML in the core schema of YAML 1.2, read and written through libyaml.
package enum YAML {
    /// All documents of a text. Quoted scalars stay strings. Empty documents are left out.
    /// Limits: `DocumentLimits`; aliases are expanded and count as the nodes they stand for.
    package static func parse(_ text: String) throws(DocumentError) -> [Document] {
        let bytes = Array(text.utf8)
        guard bytes.count <= DocumentLimits.maximumBytes else {
            throw DocumentError(
                kind: .tooLarge, line: 0, column: 0,
                detail: "the text has \(bytes.count) bytes; at most \(DocumentLimits.maximumBytes) are read")
        }
        let reader = YAMLReader(bytes)
        return try reader.readStream()
    }

    /// One document as block-style text that ends with a newline and has no `---` line.
    /// Multi-line strings become block literals. `sortedKeys` orders the keys of each map alphabetically.
    package static func emit(_ document: Document, sortedKeys: Bool = true) -> String {
        YAMLWriter(sortedKeys: sortedKeys).write(document)
    }

    /// Several documents; a line `---` stands between them, and in front of the first when `leadingSeparator`.
    package static func emit(
        documents: [Document], sortedKeys: Bool = true, leadingSeparator: Bool = false
    ) -> String {
        let texts = documents.map { emit($0, sortedKeys: sortedKeys) }
        return (leadingSeparator && !texts.isEmpty ? "---\n" : "") + texts.joined(separator: "---\n")
    }
}

/// Composes documents from libyaml's events, counting nodes and depth as they come.
private final class YAMLReader {
    /// A node with the number of nodes it consists of.
    private struct Sized {
        let node: Document
        let size: Int
    }

    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let event: UnsafeMutablePointer<yaml_event_t>
    private let input: UnsafeMutableBufferPointer<UInt8>
    private var hasEvent = false
    private var anchors: [String: Sized] = [:]
    private var nodeCount = 0

    init(_ bytes: [UInt8]) {
        parser = .allocate(capacity: 1)
        event = .allocate(capacity: 1)
        input = .allocate(capacity: max(1, bytes.count))
        _ = input.initialize(from: bytes)
        // libyaml zeroes the parser first, so that deleting it is sound even when this fails for want of memory.
        _ = yaml_parser_initialize(parser)
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, input.baseAddress, bytes.count)
    }

    deinit {
        if hasEvent { yaml_event_delete(event) }
        yaml_parser_delete(parser)
        parser.deallocate()
        event.deallocate()
        input.deallocate()
    }

    func readStream() throws(DocumentError) -> [Document] {
        var documents: [Document] = []
        while true {
            try advance()
            switch event.pointee.type {
            case YAML_STREAM_END_EVENT, YAML_NO_EVENT: return documents
            case YAML_DOCUMENT_START_EVENT:
                anchors.removeAll()
                try advance()
                let root = try compose(depth: 1)
                if !root.node.isNull { documents.append(root.node) }
            default: break
            }
        }
    }

    private func advance() throws(DocumentError) {
        if hasEvent { yaml_event_delete(event) }
        hasEvent = yaml_parser_parse(parser, event) == 1
        if !hasEvent { throw syntaxError() }
    }

    /// The node that begins with the current event.
    private func compose(depth: Int) throws(DocumentError) -> Sized {
        try count(1)
        guard depth <= DocumentLimits.maximumDepth else {
            throw fault(.tooDeep, "lists and maps are nested deeper than \(DocumentLimits.maximumDepth) levels")
        }
        switch event.pointee.type {
        case YAML_ALIAS_EVENT:
            let name = text(event.pointee.data.alias.anchor)
            guard let target = anchors[name] else {
                throw fault(.invalidStructure, "the alias *\(name)\" has no anchor &\(name) before it")
            }
            try count(target.size)
            return target
        case YAML_SCALAR_EVENT:
            let scalar = event.pointee.data.scalar
            return remember(scalar.anchor, Sized(node: resolve(scalar), size: 1))
        case YAML_SEQUENCE_START_EVENT: return try composeList(depth: depth)
        case YAML_MAPPING_START_EVENT: return try composeMap(depth: depth)
        default: throw fault(.syntax, "a value is expected here")
        }
    }

    private func composeList(depth: Int) throws(DocumentError) -> Sized {
        // Events are freed on advance, so the anchor's name is copied first.
        let anchor = copy(event.pointee.data.sequence_start.anchor)
        var items: [Document] = []
        var size = 1
        while true {
            try advance()
            if event.pointee.type == YAML_SEQUENCE_END_EVENT { break }
            let item = try compose(depth: depth + 1)
            items.append(item.node)
            size += item.size
        }
        return remember(anchor, Sized(node: .list(items), size: size))
    }

    private func composeMap(depth: Int) throws(DocumentError) -> Sized {
        let anchor = copy(event.pointee.data.mapping_start.anchor)
        var map = DocumentMap()
        var known: Set<String> = []
        var size = 1
        while true {
            try advance()
            if event.pointee.type == YAML_MAPPING_END_EVENT { break }
            guard event.pointee.type == YAML_SCALAR_EVENT else {
                throw fault(.invalidStructure, "a map key must be a plain or quoted text")
            }
            let key = text(event.pointee.data.scalar.value, length: event.pointee.data.scalar.length)
            try count(1)
            guard known.insert(key).inserted else {
                throw fault(.invalidStructure, "the key \"\(key)\" stands twice in one map: remove one of them")
            }
            try advance()
            let value = try compose(depth: depth + 1)
            map.appendUnchecked(key, value.node)
            size += value.size + 1
        }
        return remember(anchor, Sized(node: .map(map), size: size))
    }

    private func resolve(_ scalar: yaml_event_s.__Unnamed_union_data.__Unnamed_struct_scalar) -> Document {
        let value = text(scalar.value, length: scalar.length)
        let tag = scalar.tag.map { text($0) } ?? ""
        if scalar.style != YAML_PLAIN_SCALAR_STYLE || tag == YAML_STR_TAG || tag == "!" { return .string(value) }
        return ScalarForms.resolve(value)
    }

    private func remember(_ anchor: UnsafeMutablePointer<yaml_char_t>?, _ node: Sized) -> Sized {
        remember(copy(anchor), node)
    }

    private func remember(_ anchor: String?, _ node: Sized) -> Sized {
        if let anchor { anchors[anchor] = node }
        return node
    }

    private func count(_ nodes: Int) throws(DocumentError) {
        nodeCount += nodes
        guard nodeCount <= DocumentLimits.maximumNodes else {
            throw fault(
                .tooManyNodes, "the text stands for more than \(DocumentLimits.maximumNodes) values, aliases expanded")
        }
    }

    private func copy(_ pointer: UnsafeMutablePointer<yaml_char_t>?) -> String? { pointer.map { text($0) } }

    private func text(_ pointer: UnsafeMutablePointer<yaml_char_t>?) -> String {
        pointer.map { String(cString: $0) } ?? ""
    }

    private func text(_ pointer: UnsafeMutablePointer<yaml_char_t>?, length: Int) -> String {
        String(decoding: UnsafeBufferPointer(start: pointer, count: pointer == nil ? 0 : length), as: UTF8.self)
    }

    private func fault(_ kind: DocumentError.Kind, _ detail: String) -> DocumentError {
        let mark = event.pointee.start_mark
        return DocumentError(kind: kind, line: mark.line + 1, column: mark.column + 1, detail: detail)
    }

    private func syntaxError() -> DocumentError {
        let state = parser.pointee
        let problem = state.problem.map { String(cString: $0) } ?? "out of memory"
        let context = state.context.map { " (\(String(cString: $0)))" } ?? ""
        let mark = state.problem_mark
        return DocumentError(
            kind: .syntax, line: mark.line + 1, column: mark.column + 1,
            detail: "not valid YAML: \(problem)\(context)")
    }
}

/// libyaml's output callback: appends to the writer behind `context`.
private func appendOutput(
    _ context: UnsafeMutableRawPointer?, _ bytes: UnsafeMutablePointer<UInt8>?, _ count: Int
) -> Int32 {
    guard let context, let bytes else { return 0 }
    let writer = Unmanaged<YAMLWriter>.fromOpaque(context).takeUnretainedValue()
    writer.output.append(contentsOf: UnsafeBufferPointer(start: bytes, count: count))
    return 1
}

/// Feeds one document to libyaml's emitter.
private final class YAMLWriter {
    fileprivate var output: [UInt8] = []
    private let emitter: UnsafeMutablePointer<yaml_emitter_t>
    private let sortedKeys: Bool

    init(sortedKeys: Bool) {
        self.sortedKeys = sortedKeys
        emitter = .allocate(capacity: 1)
        _ = yaml_emitter_initialize(emitter)
        yaml_emitter_set_unicode(emitter, 1)
        yaml_emitter_set_indent(emitter, 2)
        yaml_emitter_set_width(emitter, -1)
    }

    deinit {
        yaml_emitter_delete(emitter)
        emitter.deallocate()
    }

    func write(_ document: Document) -> String {
        yaml_emitter_set_output(emitter, appendOutput, Unmanaged.passUnretained(self).toOpaque())
        send { yaml_stream_start_event_initialize($0, YAML_UTF8_ENCODING) }
        send { yaml_document_start_event_initialize($0, nil, nil, nil, 1) }
        node(document)
        send { yaml_document_end_event_initialize($0, 1) }
        send { yaml_stream_end_event_initialize($0) }
        _ = yaml_emitter_flush(emitter)
        return String(decoding: output, as: UTF8.self)
    }

    private func node(_ document: Document) {
        switch document {
        case .null: scalar("null", YAML_PLAIN_SCALAR_STYLE)
        case .bool(let value): scalar(value ? "true" : "false", YAML_PLAIN_SCALAR_STYLE)
        case .int(let value): scalar(String(value), YAML_PLAIN_SCALAR_STYLE)
        case .double(let value): scalar(ScalarForms.text(value), YAML_PLAIN_SCALAR_STYLE)
        case .string(let value): scalar(value, style(of: value))
        case .list(let items):
            let layout = items.isEmpty ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE
            send { yaml_sequence_start_event_initialize($0, nil, nil, 1, layout) }
            for item in items { node(item) }
            send { yaml_sequence_end_event_initialize($0) }
        case .map(let map):
            let layout = map.isEmpty ? YAML_FLOW_MAPPING_STYLE : YAML_BLOCK_MAPPING_STYLE
            send { yaml_mapping_start_event_initialize($0, nil, nil, 1, layout) }
            for (key, value) in sortedKeys ? map.entries.sorted(by: { $0.key < $1.key }) : map.entries {
                scalar(key, key.utf8.contains(10) ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : style(of: key))
                node(value)
            }
            send { yaml_mapping_end_event_initialize($0) }
        }
    }

    private func style(of value: String) -> yaml_scalar_style_t {
        if ScalarForms.needsQuotes(value) { return YAML_DOUBLE_QUOTED_SCALAR_STYLE }
        guard value.utf8.contains(10) else { return YAML_PLAIN_SCALAR_STYLE }
        return ScalarForms.fitsLiteral(value) ? YAML_LITERAL_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE
    }

    private func scalar(_ value: String, _ style: yaml_scalar_style_t) {
        var text = value
        text.withUTF8 { bytes in
            send { event in
                yaml_scalar_event_initialize(event, nil, nil, bytes.baseAddress, Int32(bytes.count), 1, 1, style)
            }
        }
    }

    /// Makes an event and hands it to the emitter, which frees it. Both fail for want of memory only.
    private func send(_ make: (UnsafeMutablePointer<yaml_event_t>) -> Int32) {
        withUnsafeTemporaryAllocation(of: yaml_event_t.self, capacity: 1) { buffer in
            guard let event = buffer.baseAddress, make(event) == 1, yaml_emitter_emit(emitter, event) == 1 else {
                let detail = emitter.pointee.problem.map { String(cString: $0) } ?? "out of memory"
                fatalError("libyaml cannot write a document that was built in order: \(detail)")
            }
        }
    }
}
