/// A protocol violation by the peer, with the AMQP error condition and the smallest scope that must be closed for it.
///
/// AMQP 1.0 part 2, section 2.8.14 ff. gives the condition names.
package struct EndpointError: Error, Equatable, Sendable {
    /// How far a violation reaches: what has to be closed.
    package enum Scope: Sendable { case link, session, connection }

    /// What has to be closed.
    package var scope: Scope
    /// The symbolic AMQP condition, for example `amqp:session:window-violation`.
    package var condition: String
    /// What the peer did, in words fit for a log line.
    package var detail: String

    /// An error of this reach, condition and text.
    package init(_ scope: Scope, _ condition: String, _ detail: String) {
        self.scope = scope
        self.condition = condition
        self.detail = detail
    }
}
