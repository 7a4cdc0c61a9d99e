import ControlIO
import SiteModel
import SiteReconciler

/// Redeems the AccessTokens of a namespace's input, each once, on threads of their own. Used from one thread.
final class TokenDesk {
    /// Tokens redeemed at the same time.
    private static let parallel = 4
    /// Time given to one token before it counts as failed for now, seconds.
    private static let timeLimit = 30
    /// Wait before a token whose site could not be reached is tried again, milliseconds.
    private static let retryWait: Int64 = 30_000

    private enum Progress {
        case running(Worker<Result<[Resource], LocalError>>)
        /// The answer is here and is not written yet; the use must not be lost.
        case fetched([Resource])
        case redeemed
        case failed(String, retryAt: Int64)
    }

    private struct Item {
        var token: AccessToken
        var progress: Progress
    }

    private let store: NamespaceStore
    private let exchange: RedeemExchange
    private var items: [String: Item] = [:]
    /// URLs of tokens redeemed here, by token name; in a file, so that no restart redeems again.
    private var done: [String: String]

    init(store: NamespaceStore, exchange: @escaping RedeemExchange = redeemOverHTTPS) {
        self.store = store
        self.exchange = exchange
        done = TokenDesk.load(store.layout.redeemedFile)
    }

    /// Looks at the tokens as they are now; true if new resources were written to the input.
    func tend(_ tokens: [AccessToken], subject: String, now: Int64, log: ControllerLog) -> Bool {
        let names = Set(tokens.map(\.name))
        for name in items.keys where !names.contains(name) { items[name] = nil }
        for token in tokens { admit(token) }
        var didWrite = false
        for name in items.keys.sorted() {
            guard var item = items[name] else { continue }
            step(&item, subject: subject, now: now, log: log, didWrite: &didWrite)
            items[name] = item
        }
        return didWrite
    }

    /// Statuses of all tokens.
    func statuses() -> [ResourceStatus] {
        items.values.map { item in
            switch item.progress {
            case .running:
                SiteReconciler.tokenStatus(item.token, fault: "asking the issuing site", isFinal: false)
            case .fetched:
                SiteReconciler.tokenStatus(
                    item.token, fault: "redeemed, but its link cannot be written yet", isFinal: false)
            case .redeemed: SiteReconciler.tokenStatus(item.token, fault: nil, isFinal: true)
            case .failed(let text, _):
                SiteReconciler.tokenStatus(
                    item.token, fault: text.isEmpty ? "waiting for its turn" : text, isFinal: !text.isEmpty)
            }
        }
    }

    private func admit(_ token: AccessToken) {
        if let item = items[token.name], item.token.url == token.url, item.token.code == token.code { return }
        let hasLink = ((try? store.get(.link, token.name, in: .input)) ?? nil) != nil
        let isDone = done[token.name] == token.url || hasLink
        items[token.name] = Item(token: token, progress: isDone ? .redeemed : .failed("", retryAt: 0))
    }

    private func step(_ item: inout Item, subject: String, now: Int64, log: ControllerLog, didWrite: inout Bool) {
        switch item.progress {
        case .redeemed: return
        case .failed(_, let retryAt):
            guard now >= retryAt, runningCount < TokenDesk.parallel else { return }
            item.progress = .running(start(item.token, subject: subject))
        case .running(let worker):
            switch worker.take() {
            case nil: return
            case .failure(let error)?:
                log.warn("token \(item.token.name): \(error)")
                let isRefusal = !error.what.contains("attempts in")
                item.progress = .failed("\(error)", retryAt: isRefusal ? .max : now + TokenDesk.retryWait)
            case .success(let resources)?:
                item.progress = .fetched(resources)
                step(&item, subject: subject, now: now, log: log, didWrite: &didWrite)
            }
        case .fetched(let resources):
            do {
                try store.putAll(resources, in: .input)
                done[item.token.name] = item.token.url
                try save()
                log.note("token \(item.token.name) redeemed")
                item.progress = .redeemed
                didWrite = true
            } catch {
                log.warn("token \(item.token.name): its link cannot be written: \(error)")
            }
        }
    }

    private var runningCount: Int {
        items.values.count { if case .running = $0.progress { true } else { false } }
    }

    private func start(_ token: AccessToken, subject: String) -> Worker<Result<[Resource], LocalError>> {
        let redeemer = TokenRedeemer(store: store, exchange: exchange)
        let limit = TokenDesk.timeLimit
        return Worker {
            do throws(LocalError) {
                let text = token.resource.yaml()
                let file = try TokenFile.parse(text, path: "AccessToken \(token.name)")
                try file.checkExpiration(now: WallClock.now)
                return .success(try redeemer.fetch(token, subject: subject, timeoutSeconds: limit, report: { _ in }))
            } catch {
                return .failure(error)
            }
        }
    }

    private func save() throws(FileError) {
        var map = DocumentMap()
        for (name, url) in done.sorted(by: { $0.key < $1.key }) { map[name] = .string(url) }
        try Files.write(store.layout.redeemedFile, text: YAML.emit(["redeemed": .map(map)]), mode: 0o600)
    }

    private static func load(_ path: String) -> [String: String] {
        guard let text = try? Files.readText(path), let document = try? YAML.parse(text).first else { return [:] }
        var result: [String: String] = [:]
        for (name, url) in document["redeemed"]?.mapValue?.entries ?? [] { result[name] = url.scalarText }
        return result
    }
}
