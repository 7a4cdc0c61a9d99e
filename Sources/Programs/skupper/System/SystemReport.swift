import ControlIO
import LocalPlatform

/// What starting and reloading a site tell the user.
enum SystemReport {
    /// Where the site runs and where its files are.
    static func showSite(_ invocation: Invocation, _ store: NamespaceStore) throws {
        let site = try store.list(.site, in: .input).first?.name ?? ""
        Console.print("Site \"\(site)\" has been created on namespace \"\(invocation.namespace)\"")
        Console.print("Platform: \(invocation.platform.rawValue)")
        Console.print("Definition is available at: \(store.layout.inputResources)")
    }

    /// What the controller could not do, on standard error.
    static func showProblems(_ problems: [String]) {
        for problem in problems { Console.note("Warning: \(problem)") }
    }

    /// The complaint for arguments given to a command that takes none.
    static func complaints(_ invocation: Invocation) -> [String] {
        invocation.arguments.isEmpty ? [] : ["this command does not accept arguments"]
    }
}
