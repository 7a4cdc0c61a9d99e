/// Every management entity of the router, written once.
///
/// Validation, defaults, management replies and docs/router-configuration.md are all derived from it
/// (router-protocol.md §5.1, §6.3, §6.4).
package enum Schema {
    /// What stands before a short name in the long name of a type.
    package static let longNamePrefix = "io.skupper.router."

    /// How many attributes (`name`, `identity`, `type`) every type has in common.
    static let commonAttributeCount = 3

    /// All entity types: configured ones first, then those which only report state.
    package static let types: [EntityType] =
        routerTypes + securityTypes + connectionTypes + addressTypes + serviceTypes + policyTypes + operationalTypes
        + trialTypes

    private static let byShortName: [String: EntityType] = Dictionary(
        types.map { ($0.shortName, $0) }, uniquingKeysWith: { first, _ in first })

    /// Short forms which files may use.
    private static let aliases = ["address": "router.config.address", "autoLink": "router.config.autoLink"]

    /// The type called `name`, nil if there is none.
    ///
    /// `name` may be short or long, one of the aliases `address` and `autoLink`, and hyphenated
    /// (`ssl-profile` for `sslProfile`).
    package static func type(named name: String) -> EntityType? {
        var short = name[...]
        if short.hasPrefix(longNamePrefix) { short = short.dropFirst(longNamePrefix.count) }
        let camelCase = camelCased(String(short))
        return byShortName[aliases[camelCase] ?? camelCase]
    }

    /// The name under which GET-SCHEMA lists a type: the alias where there is one, as skrouterd has it.
    package static func listedName(of type: EntityType) -> String {
        aliases.first { $0.value == type.shortName }?.key ?? type.shortName
    }

    /// The type whose name is most like a mistyped one, nil if none is like it.
    package static func suggestedType(for name: String) -> String? {
        suggestion(for: camelCased(name), among: types.map(\.shortName))
    }

    /// The kind of types called `name`, in short or long; nil if there is none.
    package static func base(named name: String) -> EntityBase? {
        EntityBase(rawValue: name.hasPrefix(longNamePrefix) ? String(name.dropFirst(longNamePrefix.count)) : name)
    }

    /// `name` with each hyphen removed and the letter after it in upper case.
    package static func camelCased(_ name: String) -> String {
        guard name.contains("-") else { return name }
        var result = ""
        var raiseNext = false
        for character in name {
            if character == "-" {
                raiseNext = !result.isEmpty
            } else {
                result += raiseNext ? character.uppercased() : String(character)
                raiseNext = false
            }
        }
        return result
    }

    /// The candidate nearest to a mistyped `word`, nil if none is near enough to be worth suggesting.
    static func suggestion(for word: String, among candidates: [String]) -> String? {
        guard word.utf8.count <= 64 else { return nil }
        let typed = Array(word.lowercased().utf8)
        let near = candidates.map { (name: $0, distance: editDistance(typed, Array($0.lowercased().utf8))) }
            .min { $0.distance < $1.distance }
        guard let near, near.distance < typed.count, near.distance <= max(2, typed.count / 3) else { return nil }
        return near.name
    }

    private static func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var row = Array(0...right.count)
        for (i, a) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, b) in right.enumerated() {
                let substitution = diagonal + (a == b ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substitution, row[j] + 1, diagonal + 1)
            }
        }
        return row[right.count]
    }
}
