/// The view of a single resource: one `Label: value` line per field, values lined up.
enum LabelledLines {
    static func show(_ lines: [(label: String, value: String)]) {
        let width = ((lines.map(\.label.count).max() ?? 0) / 8 + 1) * 8
        for (label, value) in lines {
            let head = label + ":"
            let gap = String(repeating: " ", count: max(1, width - head.count))
            Console.print(value.isEmpty ? head : head + gap + value)
        }
    }
}
