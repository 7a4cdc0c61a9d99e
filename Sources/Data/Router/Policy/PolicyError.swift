/// Why rules of a vhost cannot be put into force.
struct PolicyError: Error, Equatable {
    var text: String
    init(_ text: String) { self.text = text }
}
