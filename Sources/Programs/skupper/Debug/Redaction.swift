import ControlIO

/// Takes out of what support gets to see everything that only its owner may know: private keys, codes, passwords.
enum Redaction {
    static let mark: Document = "left out"

    /// An object of a cluster, or a resource of a namespace on this host, without its secrets.
    /// - Parameter isOurs: whether it belongs to Skupper. What others give to their programs is their own business: of
    ///   their pods, values of variables and command lines are left out.
    static func object(_ document: Document, isOurs: Bool = true) -> Document {
        var result = document
        for path in [["spec", "code"], ["status", "code"]] where result.value(at: path) != nil {
            result.set(mark, at: path)
        }
        if result["kind"]?.stringValue == "Secret" {
            for field in ["data", "stringData"] {
                for key in result[field]?.mapValue?.keys ?? [] where !key.hasSuffix(".crt") {
                    result.set(mark, at: [field, key])
                }
            }
            // Tools that keep a copy of what was applied keep the keys with it.
            result.set(nil, at: ["metadata", "annotations"])
        }
        result.set(nil, at: ["metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"])
        result.set(nil, at: ["metadata", "managedFields"])
        if result["kind"]?.stringValue == "ConfigMap", let data = result["data"]?.mapValue {
            for (key, value) in data.entries {
                guard key.hasSuffix(".json"), let text = value.stringValue else { continue }
                // What cannot be read cannot be searched for passwords.
                let plain = (try? JSON.parse(text)).map { Document.string(JSON.emit(withoutPasswords($0))) }
                result.set(plain ?? mark, at: ["data", key])
            }
        }
        return containers(result, isOurs: isOurs)
    }

    /// A document without the values of fields that hold passwords.
    static func withoutPasswords(_ node: Document) -> Document {
        switch node {
        case .list(let items):
            return .list(items.map(withoutPasswords))
        case .map(let map):
            var result = DocumentMap()
            for (key, value) in map.entries {
                result[key] = key.lowercased().hasSuffix("password") ? mark : withoutPasswords(value)
            }
            return .map(result)
        default:
            return node
        }
    }

    /// Walks to the containers of a pod or a pod template, wherever it stands.
    private static func containers(_ node: Document, isOurs: Bool) -> Document {
        switch node {
        case .list(let items):
            return .list(items.map { containers($0, isOurs: isOurs) })
        case .map(let map):
            var result = DocumentMap()
            let isContainer = map["image"] != nil && map["name"] != nil
            for (key, value) in map.entries {
                switch key {
                case "env" where isContainer: result[key] = variables(value, isOurs: isOurs)
                case "command" where isContainer && !isOurs, "args" where isContainer && !isOurs: result[key] = mark
                default: result[key] = containers(value, isOurs: isOurs)
                }
            }
            return .map(result)
        default:
            return node
        }
    }

    private static func variables(_ node: Document, isOurs: Bool) -> Document {
        .list(
            (node.listValue ?? []).map { item in
                let name = (item["name"]?.stringValue ?? "").lowercased()
                let isSecret = ["password", "secret", "token", "key"].contains { name.hasSuffix($0) }
                guard item["value"] != nil, !isOurs || isSecret else { return item }
                var result = item
                result["value"] = mark
                return result
            })
    }
}
