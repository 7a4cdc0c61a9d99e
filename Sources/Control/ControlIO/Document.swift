/// One node of a YAML or JSON document. Equality of maps does not depend on key order.
package indirect enum Document: Hashable, Sendable {
    case null
    case bool(Bool)
    case int(Int64)
    case double(Double)
    case string(String)
    case list([Document])
    case map(DocumentMap)
}

/// Keys with their values in the order in which they were written.
package struct DocumentMap: Sendable {
    private var storage: [(key: String, value: Document)] = []

    /// An empty map.
    package init() {}

    /// A map of the given pairs; a repeated key keeps its first place and its last value.
    package init(_ pairs: [(String, Document)]) {
        for (key, value) in pairs { self[key] = value }
    }

    /// Pairs in written order.
    package var entries: [(key: String, value: Document)] { storage }
    /// Keys in written order.
    package var keys: [String] { storage.map(\.key) }
    /// Number of keys.
    package var count: Int { storage.count }
    /// True when there are no keys.
    package var isEmpty: Bool { storage.isEmpty }

    /// The value of a key; setting nil removes the key, setting a new key appends it.
    package subscript(key: String) -> Document? {
        get { storage.first { $0.key == key }?.value }
        set {
            let index = storage.firstIndex { $0.key == key }
            switch (index, newValue) {
            case (let index?, let value?): storage[index].value = value
            case (let index?, nil): storage.remove(at: index)
            case (nil, let value?): storage.append((key, value))
            case (nil, nil): break
            }
        }
    }

    /// Appends without looking for an equal key: parsers detect repeated keys by a set of their own.
    mutating func appendUnchecked(_ key: String, _ value: Document) {
        storage.append((key, value))
    }
}

extension DocumentMap: Hashable {
    package static func == (left: DocumentMap, right: DocumentMap) -> Bool {
        guard left.storage.count == right.storage.count else { return false }
        if zip(left.storage, right.storage).allSatisfy({ $0.key == $1.key }) {
            return zip(left.storage, right.storage).allSatisfy { $0.value == $1.value }
        }
        let byKey = Dictionary(right.storage.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
        return left.storage.allSatisfy { byKey[$0.key] == $0.value }
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(storage.count)
        for entry in storage.sorted(by: { $0.key < $1.key }) {
            hasher.combine(entry.key)
            hasher.combine(entry.value)
        }
    }
}

extension DocumentMap: ExpressibleByDictionaryLiteral {
    package init(dictionaryLiteral elements: (String, Document)...) { self.init(elements) }
}

extension Document: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .int(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: Document...) { self = .list(elements) }
    package init(dictionaryLiteral elements: (String, Document)...) { self = .map(DocumentMap(elements)) }
}

extension Document {
    /// An empty map.
    package static var emptyMap: Document { .map(DocumentMap()) }

    /// True for `null`.
    package var isNull: Bool { self == .null }
    /// The text of a string node, else nil.
    package var stringValue: String? { if case .string(let value) = self { value } else { nil } }
    /// The value of a bool node, else nil.
    package var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// The value of an integer node, else nil.
    package var intValue: Int64? { if case .int(let value) = self { value } else { nil } }
    /// The items of a list node, else nil.
    package var listValue: [Document]? { if case .list(let value) = self { value } else { nil } }
    /// The pairs of a map node, else nil.
    package var mapValue: DocumentMap? { if case .map(let value) = self { value } else { nil } }

    /// The text of any scalar as a user would write it (`8080` for an integer); nil for null, lists and maps.
    package var scalarText: String? {
        switch self {
        case .string(let value): value
        case .int(let value): String(value)
        case .double(let value): String(value)
        case .bool(let value): value ? "true" : "false"
        case .null, .list, .map: nil
        }
    }

    /// The value under a key of a map node; nil for other nodes. Setting turns any other node into a map;
    /// setting nil removes the key.
    package subscript(key: String) -> Document? {
        get { mapValue?[key] }
        set {
            var map = mapValue ?? DocumentMap()
            map[key] = newValue
            self = .map(map)
        }
    }

    /// The item at a position of a list node; nil when absent.
    package subscript(index: Int) -> Document? {
        guard let list = listValue, list.indices.contains(index) else { return nil }
        return list[index]
    }

    /// The node at a path of keys, for example `["spec", "linkAccess"]`.
    package func value(at path: [String]) -> Document? {
        var node = self
        for key in path {
            guard let next = node[key] else { return nil }
            node = next
        }
        return node
    }

    /// The node at a dotted path, for example `spec.linkAccess`. Keys with dots need the list form.
    package func value(at dottedPath: String) -> Document? {
        value(at: dottedPath.split(separator: ".").map(String.init))
    }

    /// Writes (or with nil removes) the node at a path of keys, making the maps on the way.
    /// Removing below a map that does not exist makes nothing.
    package mutating func set(_ value: Document?, at path: [String]) {
        guard let first = path.first else {
            self = value ?? .null
            return
        }
        guard path.count > 1 else {
            if value != nil || mapValue != nil { self[first] = value }
            return
        }
        guard value != nil || self[first] != nil else { return }
        var child = self[first] ?? .emptyMap
        child.set(value, at: Array(path.dropFirst()))
        self[first] = child
    }

    /// Writes (or with nil removes) the node at a dotted path.
    package mutating func set(_ value: Document?, at dottedPath: String) {
        set(value, at: dottedPath.split(separator: ".").map(String.init))
    }

    /// The document without empty and zero fields, recursively: null, "", 0, false, empty lists and maps.
    /// Items of lists stay, only their own fields are reduced. (What `-o yaml` prints, sheet §2.1.)
    package func removingEmptyFields() -> Document {
        switch self {
        case .list(let items): return .list(items.map { $0.removingEmptyFields() })
        case .map(let map):
            var result = DocumentMap()
            for (key, value) in map.entries {
                let reduced = value.removingEmptyFields()
                if !reduced.isEmptyField { result.appendUnchecked(key, reduced) }
            }
            return .map(result)
        default: return self
        }
    }

    private var isEmptyField: Bool {
        switch self {
        case .null: true
        case .bool(let value): !value
        case .int(let value): value == 0
        case .double(let value): value == 0
        case .string(let value): value.isEmpty
        case .list(let value): value.isEmpty
        case .map(let value): value.isEmpty
        }
    }
}
