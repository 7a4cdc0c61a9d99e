import CJansson

/// JSON (RFC 8259); read through jansson.
package enum JSON {
    /// The value of a text; any JSON value may stand at the top. Limits: `DocumentLimits`.
    package static func parse(_ text: String) throws(DocumentError) -> Document {
        var text = text
        guard text.utf8.count <= DocumentLimits.maximumBytes else {
            throw DocumentError(
                kind: .tooLarge, line: 0, column: 0,
                detail: "the text has \(text.utf8.count) bytes; at most \(DocumentLimits.maximumBytes) are read")
        }
        var fault = json_error_t()
        let flags = Int(JSON_DECODE_ANY | JSON_REJECT_DUPLICATES)
        let root = text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { json_loadb($0.baseAddress, $0.count, flags, &fault) }
        }
        guard let root else {
            let message = withUnsafeBytes(of: &fault.text) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            throw DocumentError(
                kind: .syntax, line: max(0, Int(fault.line)), column: max(0, Int(fault.column)),
                detail: "not valid JSON: \(message)")
        }
        defer { json_decref(root) }
        var nodes = 0
        return try convert(root, depth: 1, nodes: &nodes)
    }

    /// The value as text without a final newline: indented by two blanks when `pretty`, else compact.
    /// Numbers that JSON does not have (infinite, not a number) become null.
    package static func emit(_ document: Document, pretty: Bool = true, sortedKeys: Bool = true) -> String {
        var output = ""
        write(document, to: &output, indent: pretty ? 0 : nil, sortedKeys: sortedKeys)
        return output
    }

    private static func convert(
        _ value: UnsafeMutablePointer<json_t>, depth: Int, nodes: inout Int
    ) throws(DocumentError) -> Document {
        nodes += 1
        guard nodes <= DocumentLimits.maximumNodes else {
            throw limit(.tooManyNodes, "the text has more than \(DocumentLimits.maximumNodes) values")
        }
        guard depth <= DocumentLimits.maximumDepth else {
            throw limit(.tooDeep, "lists and maps are nested deeper than \(DocumentLimits.maximumDepth) levels")
        }
        switch value.pointee.type {
        case JSON_OBJECT:
            var map = DocumentMap()
            var iterator = json_object_iter(value)
            while let current = iterator {
                if let key = json_object_iter_key(current), let child = json_object_iter_value(current) {
                    map.appendUnchecked(String(cString: key), try convert(child, depth: depth + 1, nodes: &nodes))
                }
                iterator = json_object_iter_next(value, current)
            }
            return .map(map)
        case JSON_ARRAY:
            var items: [Document] = []
            for index in 0..<json_array_size(value) {
                guard let child = json_array_get(value, index) else { continue }
                items.append(try convert(child, depth: depth + 1, nodes: &nodes))
            }
            return .list(items)
        case JSON_STRING:
            guard let text = json_string_value(value) else { return .string("") }
            let bytes = UnsafeRawBufferPointer(start: text, count: json_string_length(value))
            return .string(String(decoding: bytes, as: UTF8.self))
        case JSON_INTEGER: return .int(Int64(json_integer_value(value)))
        case JSON_REAL: return .double(json_real_value(value))
        case JSON_TRUE: return .bool(true)
        case JSON_FALSE: return .bool(false)
        default: return .null
        }
    }

    private static func limit(_ kind: DocumentError.Kind, _ detail: String) -> DocumentError {
        DocumentError(kind: kind, line: 0, column: 0, detail: detail)
    }

    /// `indent` is the depth of the line the value stands on; nil writes everything on one line.
    private static func write(_ value: Document, to output: inout String, indent: Int?, sortedKeys: Bool) {
        switch value {
        case .null: output += "null"
        case .bool(let flag): output += flag ? "true" : "false"
        case .int(let number): output += String(number)
        case .double(let number): output += number.isFinite ? String(number) : "null"
        case .string(let text): writeString(text, to: &output)
        case .list(let items):
            writeItems(items, open: "[", close: "]", to: &output, indent: indent) { item, output, inner in
                write(item, to: &output, indent: inner, sortedKeys: sortedKeys)
            }
        case .map(let map):
            let entries = sortedKeys ? map.entries.sorted { $0.key < $1.key } : map.entries
            writeItems(entries, open: "{", close: "}", to: &output, indent: indent) { entry, output, inner in
                writeString(entry.key, to: &output)
                output += inner == nil ? ":" : ": "
                write(entry.value, to: &output, indent: inner, sortedKeys: sortedKeys)
            }
        }
    }

    private static func writeItems<Item>(
        _ items: [Item], open: String, close: String, to output: inout String, indent: Int?,
        _ writeItem: (Item, inout String, Int?) -> Void
    ) {
        output += open
        let inner = indent.map { $0 + 1 }
        for (index, item) in items.enumerated() {
            if index > 0 { output += "," }
            if let inner { output += "\n" + String(repeating: "  ", count: inner) }
            writeItem(item, &output, inner)
        }
        if let indent, !items.isEmpty { output += "\n" + String(repeating: "  ", count: indent) }
        output += close
    }

    private static func writeString(_ text: String, to output: inout String) {
        output += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                output += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: output.unicodeScalars.append(scalar)
            }
        }
        output += "\""
    }
}
