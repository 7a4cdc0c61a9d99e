/// Finds what the user probably meant.
enum Suggestions {
    /// The names within two single-letter edits of `word`, or that start with it; nearest first.
    static func nearest(to word: String, among names: [String]) -> [String] {
        let typed = Array(word.lowercased().utf8)
        guard !typed.isEmpty, typed.count <= 64 else { return [] }
        var found: [(name: String, distance: Int)] = []
        for name in names {
            let distance = editDistance(typed, Array(name.utf8))
            if distance <= 2 || name.hasPrefix(word.lowercased()) { found.append((name, distance)) }
        }
        return found.sorted { ($0.distance, $0.name) < ($1.distance, $1.name) }.map(\.name)
    }

    /// The least number of insertions, deletions and replacements that turn `a` into `b`.
    private static func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var previous = Array(0...b.count)
        for (i, left) in a.enumerated() {
            var row = [i + 1]
            for (j, right) in b.enumerated() {
                row.append(min(previous[j] + (left == right ? 0 : 1), previous[j + 1] + 1, row[j] + 1))
            }
            previous = row
        }
        return previous[b.count]
    }
}
