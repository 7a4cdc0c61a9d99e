/// Which of the attributes that were given this router passes over.
extension Entity {
    /// Attributes that were given, ask for something, and have no effect in this router, by name. What asks for
    /// nothing, such as `allowRedirect: false`, is not among them.
    package var attributesWithoutEffect: [String] {
        entityType.attributes.filter { hasNoEffect($0) }.map(\.name).sorted()
    }

    /// What is to be said of `attribute`, which has no effect.
    package func warning(of attribute: String) -> String {
        "\(type).\(attribute) is accepted but has no effect in this router"
    }

    /// The value given for `attribute` asks for what this router does not do.
    func hasNoEffect(_ attribute: Attribute) -> Bool {
        guard let value = attributes[attribute.name] else { return false }
        switch (type, attribute.name, value) {
        case ("connector", "allowRedirect", .boolean(let isWanted)):
            return isWanted
        default:
            return attribute.flags.contains(.ignored)
        }
    }

    /// A listener's socket speaks HTTP: `http` says so, or there is an `httpRootDir`.
    package var speaksHTTP: Bool { boolean("http") == true || attributes["httpRootDir"] != nil }
}
