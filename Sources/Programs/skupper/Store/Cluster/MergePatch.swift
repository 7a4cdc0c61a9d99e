import ControlIO

/// Merge patches (RFC 7396): what turns one document into another. Fields that both have alike are not in it, so that
/// changes made by others in the meantime stay.
enum MergePatch {
    /// The patch from one map to another; an empty map when they are alike. Lists are replaced whole.
    static func between(_ old: Document, _ new: Document) -> Document {
        guard let before = old.mapValue, let after = new.mapValue else { return new }
        var patch = DocumentMap()
        for key in before.keys where after[key] == nil { patch[key] = .null }
        for (key, value) in after.entries {
            guard let known = before[key] else {
                patch[key] = value
                continue
            }
            guard known != value else { continue }
            patch[key] = known.mapValue != nil && value.mapValue != nil ? between(known, value) : value
        }
        return .map(patch)
    }

    /// Whether a document has all that another one has; a server adds defaults to what it is given.
    static func isWithin(_ part: Document, _ whole: Document?) -> Bool {
        guard let fields = part.mapValue else { return part == whole }
        return fields.entries.allSatisfy { isWithin($0.value, whole?[$0.key]) }
    }
}
