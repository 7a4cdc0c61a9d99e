import ControlIO
import SiteModel

/// What the commands read from resources beyond their fields: the summary that stands in the tables.
extension Resource {
    /// A scalar below `spec` as text; empty when absent.
    func specText(_ field: String) -> String {
        spec(field)?.scalarText ?? ""
    }

    /// Sets a text below `spec`; an empty text removes the field.
    mutating func setSpecText(_ field: String, _ text: String) {
        setSpec(text.isEmpty ? nil : .string(text), field)
    }

    /// Whether the controller reports the resource as ready.
    var isReady: Bool { condition(.ready)?.isTrue ?? (statusWord == "Ready") }

    /// The summary the controller wrote, or what stands for it while there is none.
    /// - Parameter required: the condition whose absence a resource without status shows.
    func summary(required: ConditionType = .configured) -> StatusSummary {
        statusWord.isEmpty
            ? StatusSummary(status: "Pending", message: "Not \(required.rawValue)")
            : StatusSummary(status: statusWord, message: statusMessage)
    }
}
