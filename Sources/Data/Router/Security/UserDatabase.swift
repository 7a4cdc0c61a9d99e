import AMQPEndpoints
import CLibsasl
import Glibc
import Threading

/// Users and passwords of this machine, as Cyrus SASL knows them: a SASL exchange's response is checked there.
///
/// A check may read files or ask another process, so that it is done on one thread of its own, which is the only one
/// that is in the library: it knows no threads unless it is given locks. `@unchecked Sendable`: what the loops share
/// with that thread is touched inside the monitor only.
final class UserDatabase: @unchecked Sendable {
    private struct Check {
        var mechanism: String
        var response: [UInt8]
        var done: @Sendable (SASLVerdict) -> Void
    }

    /// Mechanisms that the library and its configuration provide.
    let mechanisms: Set<String>
    private let monitor = Monitor()
    private var waiting = Fifo<Check>()
    private static let service = "amqp"
    /// Checks that may wait; beyond, peers are told to come again.
    private static let waitingMaximum = 1000

    /// Starts the library. Once in a process.
    /// - Parameters:
    ///   - directory: folders of its configuration, separated by colons; nil for the system's.
    ///   - name: what the configuration's file is called, without `.conf`.
    init(directory: String?, name: String) throws(EntityFailure) {
        // The library keeps what it is given here.
        if let directory, !directory.isEmpty { sasl_set_path(SASL_PATH_TYPE_CONFIG, strdup(directory)) }
        let code = sasl_server_init(UserDatabase.callbacks(), strdup(name))
        guard code == SASL_OK else {
            throw EntityFailure(status: 500, text: "the SASL library does not start: \(UserDatabase.text(code))")
        }
        mechanisms = UserDatabase.listed()
        let thread = WorkThread { [self] in work() }
        guard let thread else { throw EntityFailure(status: 500, text: "no thread for the user database") }
        thread.detach()
    }

    /// Checks the first response of a mechanism that needs no other. `done` runs on the database's thread.
    func check(mechanism: String, response: [UInt8], done: @escaping @Sendable (SASLVerdict) -> Void) {
        let isTaken = monitor.inside {
            guard waiting.count < UserDatabase.waitingMaximum else { return false }
            waiting.append(Check(mechanism: mechanism, response: response, done: done))
            monitor.wakeAll()
            return true
        }
        if !isTaken { done(.unavailable("more than \(UserDatabase.waitingMaximum) checks of users wait")) }
    }

    private func work() {
        while true {
            let check = monitor.inside {
                while waiting.isEmpty { monitor.wait() }
                return waiting.popFirst()
            }
            if let check { check.done(UserDatabase.verdict(check.mechanism, check.response)) }
        }
    }

    // MARK: In the library

    private static func withConnection<Result>(_ body: (OpaquePointer) -> Result) -> Result? {
        var connection: OpaquePointer?
        guard sasl_server_new(service, nil, nil, nil, nil, nil, 0, &connection) == SASL_OK else { return nil }
        defer { sasl_dispose(&connection) }
        return connection.map(body)
    }

    private static func listed() -> Set<String> {
        let names = withConnection { connection -> Set<String> in
            var list: UnsafePointer<CChar>?
            guard sasl_listmech(connection, nil, "", " ", "", &list, nil, nil) == SASL_OK, let list else { return [] }
            return Set(String(cString: list).split(separator: " ").map(String.init))
        }
        return names ?? []
    }

    private static func verdict(_ mechanism: String, _ response: [UInt8]) -> SASLVerdict {
        let verdict = withConnection { connection -> SASLVerdict in
            var challenge: UnsafePointer<CChar>?
            var length: UInt32 = 0
            let code = response.withUnsafeBytes { octets in
                sasl_server_start(
                    connection, mechanism, octets.baseAddress?.assumingMemoryBound(to: CChar.self),
                    UInt32(octets.count), &challenge, &length)
            }
            switch code {
            case SASL_OK:
                var name: UnsafeRawPointer?
                guard sasl_getprop(connection, SASL_USERNAME, &name) == SASL_OK, let name else {
                    return .unavailable("the SASL library names no user")
                }
                return .accepted(user: String(cString: name.assumingMemoryBound(to: CChar.self)))
            case SASL_BADAUTH, SASL_NOUSER, SASL_NOAUTHZ, SASL_BADPROT, SASL_BADPARAM, SASL_BUFOVER, SASL_EXPIRED,
                SASL_DISABLED, SASL_NOVERIFY, SASL_PWLOCK, SASL_CONTINUE, SASL_TOOWEAK, SASL_ENCRYPT:
                return .refused(text(code))
            default:
                return .unavailable(text(code))
            }
        }
        return verdict ?? .unavailable("the SASL library is out of memory")
    }

    private static func text(_ code: Int32) -> String { String(cString: sasl_errstring(code, nil, nil)) }

    /// The library's words go to our log instead of the system's, for as long as the process lives. Those of its
    /// traces may hold passwords and go nowhere.
    private static func callbacks() -> UnsafePointer<sasl_callback_t> {
        let list = UnsafeMutablePointer<sasl_callback_t>.allocate(capacity: 2)
        let log = unsafeBitCast(logMessage, to: (@convention(c) () -> Int32).self)
        list[0] = sasl_callback_t(id: UInt(SASL_CB_LOG), proc: log, context: nil)
        list[1] = sasl_callback_t(id: UInt(SASL_CB_LIST_END), proc: nil, context: nil)
        return UnsafePointer(list)
    }
}

private let logMessage: @convention(c) (UnsafeMutableRawPointer?, Int32, UnsafePointer<CChar>?) -> Int32 = {
    _, level, message in
    if let message, level > SASL_LOG_NONE, level < SASL_LOG_DEBUG {
        Log.write(.server, level == SASL_LOG_ERR ? .info : .debug, "SASL library: \(String(cString: message))")
    }
    return SASL_OK
}
