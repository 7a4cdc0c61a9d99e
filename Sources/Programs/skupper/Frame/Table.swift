/// Rows under a header, in columns that line up: each cell is padded with blanks to the next multiple of eight
/// columns after the widest one, as a terminal would show tabs. The last column is not padded.
struct Table {
    private var rows: [[String]]

    init(_ header: [String]) {
        rows = [header]
    }

    mutating func add(_ row: [String]) {
        rows.append(row)
    }

    /// The table as lines without trailing blanks.
    var text: String {
        let columns = rows[0].count
        let widths = (0..<columns).map { column in
            let widest = rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
            return (widest / 8 + 1) * 8
        }
        return rows.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                line += cell
                if column < row.count - 1 { line += String(repeating: " ", count: widths[column] - cell.count) }
            }
            while line.last == " " { line.removeLast() }
            return line
        }.joined(separator: "\n")
    }
}
