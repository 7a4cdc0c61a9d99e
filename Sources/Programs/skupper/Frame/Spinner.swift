import Glibc

/// One line on a terminal that shows that something is being waited for, and gone when it is over. Where standard
/// output is no terminal nothing is drawn: a script reads it.
struct Spinner {
    private static let frames = ["-", "\\", "|", "/"]

    private let text: String
    private let isDrawn: Bool
    private var turn = 0

    /// - Parameter isWelcome: false keeps it still, where standard output carries data.
    init(_ text: String, isWelcome: Bool = true) {
        self.text = text
        isDrawn = isWelcome && !text.isEmpty && Console.isTerminal
    }

    /// Draws the next position, with the reason for the waiting when one is known.
    mutating func turn(reason: String = "") {
        guard isDrawn else { return }
        let frame = Self.frames[turn % Self.frames.count]
        turn += 1
        // Controls of a reason from elsewhere must not reach the terminal; a longer line would wrap and stay.
        let shown = (reason.isEmpty ? text : "\(text) \(reason)").unicodeScalars.filter { $0.value >= 0x20 }
        var line = ""
        line.unicodeScalars.append(contentsOf: shown.prefix(76))
        Console.write("\r\u{1b}[K\(frame) \(line)", to: STDOUT_FILENO)
    }

    /// Takes the line away.
    func clear() {
        if isDrawn, turn > 0 { Console.write("\r\u{1b}[K", to: STDOUT_FILENO) }
    }
}
