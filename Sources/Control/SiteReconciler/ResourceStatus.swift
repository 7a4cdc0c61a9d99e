import ControlIO
import SiteModel

/// The status that a resource should have.
package struct ResourceStatus: Hashable, Sendable {
    /// Whose status it is.
    package let key: ResourceKey
    /// One condition to write; nil removes it.
    package struct Entry: Hashable, Sendable {
        /// Which condition.
        package let type: ConditionType
        /// What it says; nil: it is to be absent.
        package let state: ConditionState?

        /// An entry.
        package init(type: ConditionType, state: ConditionState?) {
            self.type = type
            self.state = state
        }
    }
    /// Conditions in order. Conditions not named stay as they are.
    package let conditions: [Entry]
    /// Further fields below `status`; a nil value removes the field.
    package let fields: [String: Document?]

    /// A status.
    package init(key: ResourceKey, conditions: [Entry], fields: [String: Document?] = [:]) {
        self.key = key
        self.conditions = conditions
        self.fields = fields
    }

    /// Writes conditions, aggregate and fields.
    /// - Returns: whether anything changed.
    @discardableResult
    package func apply(to resource: inout Resource, nowUnix: Int64) -> Bool {
        var changed = false
        for (name, value) in fields.sorted(by: { $0.key < $1.key }) where resource.status(name) != value {
            resource.setStatus(value, name)
            changed = true
        }
        for entry in conditions {
            if let state = entry.state {
                changed = resource.setCondition(entry.type, state, nowUnix: nowUnix) || changed
            } else {
                changed = resource.removeCondition(entry.type, nowUnix: nowUnix) || changed
            }
        }
        return changed
    }
}
