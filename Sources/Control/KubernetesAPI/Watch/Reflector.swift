import ControlIO

/// Keeps a copy of one collection of an API server: lists it, watches it from there, and begins anew when the server no
/// longer keeps the version to continue from. Pure: inputs in, effects out; whoever drives it sends the requests, waits
/// and delivers.
///
/// At any time it is listing, watching or waiting, never two of them, and every input but the ones of that state is
/// ignored, so that a late answer does no harm.
package struct Reflector: Sendable {
    /// What is to be done now.
    package enum Effect: Hashable, Sendable {
        /// Ask for a page: the most objects in it, and the mark of the page before it (empty for the first).
        /// Answer with `listed` or `listFailed`.
        case list(limit: Int, next: String)
        /// Watch from a version on, for so many seconds at most. Answer with `happened` and `watchEnded`.
        case watch(resourceVersion: String, seconds: Int)
        /// End the watch, without an answer.
        case abandonWatch
        /// Call `waited` after so many milliseconds.
        case wait(milliseconds: Int)
        /// Deliver to whoever wants the objects.
        case deliver(WatchDelivery)
    }

    private enum State: Hashable {
        case idle
        case listing
        case watching
        case waiting(thenList: Bool)
    }

    /// The most objects in one page; halved when a page was too large to be read.
    package static let pageSize = 100
    /// A watch that ends after less than this without any event is taken for a failure, milliseconds.
    static let shortestWatch = 1_000
    /// The most objects that are kept; a larger collection is refused as a whole.
    package static let objectLimit = 50_000

    private let resource: APIResource
    private let backOff: BackOff
    private let objectLimit: Int
    private var state = State.idle
    private var limit = Reflector.pageSize
    private var page: [ObjectKey: Document] = [:]
    private var failures = 0
    private var isTroubled = false
    private var hasSynced = false
    private var heardOfWatch = false

    /// The objects as last heard of.
    package private(set) var objects: [ObjectKey: Document] = [:]
    /// The version that a watch continues from; empty before the first list.
    package private(set) var resourceVersion = ""

    package init(
        _ resource: APIResource, backOff: BackOff = BackOff(first: 500, limit: 30_000),
        objectLimit: Int = Reflector.objectLimit
    ) {
        self.resource = resource
        self.backOff = backOff
        self.objectLimit = objectLimit
    }

    /// Begins. Only the first call does anything.
    package mutating func start() -> [Effect] {
        guard state == .idle else { return [] }
        return beginList()
    }

    /// The time asked for by `wait` is over.
    /// - Parameter random: any number.
    package mutating func waited(random: UInt64) -> [Effect] {
        guard case .waiting(let thenList) = state else { return [] }
        return thenList ? beginList() : beginWatch(random)
    }

    // MARK: The list

    private mutating func beginList() -> [Effect] {
        state = .listing
        page = [:]
        return [.list(limit: limit, next: "")]
    }

    /// A page came.
    package mutating func listed(_ answer: Document, random: UInt64) -> [Effect] {
        guard state == .listing else { return [] }
        guard let items = answer["items"].map({ $0.listValue ?? [] }), let metadata = answer["metadata"],
            let version = metadata["resourceVersion"]?.stringValue, !version.isEmpty
        else {
            return failed(.notUnderstood("a list of \(resource.plural) came without items or version"), true, random)
        }
        for item in items {
            if let key = ObjectKey(of: item) { page[key] = resource.completed(item) }
        }
        guard page.count <= objectLimit else {
            page = [:]
            return failed(
                .notUnderstood("there are more than \(objectLimit) \(resource.plural), more than are kept here"), true,
                random)
        }
        if let next = metadata["continue"]?.stringValue, !next.isEmpty { return [.list(limit: limit, next: next)] }
        resourceVersion = version
        var effects = replaceAll()
        if !hasSynced {
            hasSynced = true
            effects.append(.deliver(.synced))
        }
        return effects + recovered() + beginWatch(random)
    }

    /// No page came.
    package mutating func listFailed(_ fault: APIFault, random: UInt64) -> [Effect] {
        guard state == .listing else { return [] }
        page = [:]
        if limit > 1, fault.isTooLarge {
            limit /= 2
            return beginList()
        }
        return failed(fault, true, random)
    }

    /// Tells what is different between the objects known and those just listed.
    private mutating func replaceAll() -> [Effect] {
        var effects: [Effect] = []
        for (key, old) in objects.sorted(by: { $0.key < $1.key }) where !Self.isSame(old, page[key]) {
            effects.append(.deliver(.removed(old)))
        }
        for (key, new) in page.sorted(by: { $0.key < $1.key }) {
            let known = objects[key].map(Self.version)
            if known != Self.version(new) { effects.append(.deliver(.changed(new))) }
        }
        objects = page
        page = [:]
        return effects
    }

    private static func version(_ object: Document) -> String {
        object.value(at: ["metadata", "resourceVersion"])?.stringValue ?? ""
    }

    /// Whether the second is a later state of the first, and not another object of the same name.
    private static func isSame(_ old: Document, _ new: Document?) -> Bool {
        guard let new else { return false }
        return old.value(at: ["metadata", "uid"]) == new.value(at: ["metadata", "uid"])
    }

    // MARK: The watch

    private mutating func beginWatch(_ random: UInt64) -> [Effect] {
        state = .watching
        heardOfWatch = false
        // Five to ten minutes: watches of many kinds, begun together, do not end together.
        return [.watch(resourceVersion: resourceVersion, seconds: 300 + Int(random % 300))]
    }

    /// The watch says something.
    package mutating func happened(_ event: WatchEvent, random: UInt64) -> [Effect] {
        guard state == .watching else { return [] }
        switch event {
        case .failure(let fault):
            return [.abandonWatch] + failed(fault, fault.isExpired, random)
        case .bookmark(let version):
            resourceVersion = version
            return heard()
        case .changed(let object):
            guard let (key, version) = Self.identity(object) else { return unusable(random) }
            guard objects[key] != nil || objects.count < objectLimit else {
                return [.abandonWatch]
                    + failed(.notUnderstood("there are more than \(objectLimit) \(resource.plural)"), true, random)
            }
            resourceVersion = version
            let new = resource.completed(object)
            var effects = heard()
            if let old = objects[key], !Self.isSame(old, new) { effects.append(.deliver(.removed(old))) }
            objects[key] = new
            return effects + [.deliver(.changed(new))]
        case .deleted(let object):
            guard let (key, version) = Self.identity(object) else { return unusable(random) }
            resourceVersion = version
            guard objects.removeValue(forKey: key) != nil else { return heard() }
            return heard() + [.deliver(.removed(resource.completed(object)))]
        }
    }

    private mutating func unusable(_ random: UInt64) -> [Effect] {
        [.abandonWatch]
            + failed(.notUnderstood("a watch of \(resource.plural) sent an object without name or "
                + "version"), true, random)
    }

    private static func identity(_ object: Document) -> (ObjectKey, String)? {
        guard let key = ObjectKey(of: object) else { return nil }
        let version = version(object)
        return version.isEmpty ? nil : (key, version)
    }

    private mutating func heard() -> [Effect] {
        heardOfWatch = true
        failures = 0
        return recovered()
    }

    /// The watch is over.
    /// - Parameters:
    ///   - fault: why; nil when its time was over or the connection closed.
    ///   - lasted: for how long it was open, milliseconds.
    package mutating func watchEnded(_ fault: APIFault?, lasted: Int, random: UInt64) -> [Effect] {
        guard state == .watching else { return [] }
        if let fault { return failed(fault, fault.isExpired, random) }
        if !heardOfWatch, lasted < Self.shortestWatch {
            return failed(.notUnderstood("watches of \(resource.plural) are closed as soon as they "
                + "open"), false, random)
        }
        failures = 0
        return recovered() + beginWatch(random)
    }

    // MARK: Failures

    private mutating func failed(_ fault: APIFault, _ thenList: Bool, _ random: UInt64) -> [Effect] {
        state = .waiting(thenList: thenList)
        failures += 1
        let pause = max(backOff.delay(failures: failures, random: random), min(fault.retryAfterMilliseconds, 60_000))
        var effects: [Effect] = []
        // A version too old is how watches end after a while, not trouble.
        if !isTroubled, !(fault.isExpired && failures == 1) {
            isTroubled = true
            effects.append(.deliver(.troubled(fault)))
        }
        return effects + [.wait(milliseconds: pause)]
    }

    private mutating func recovered() -> [Effect] {
        guard isTroubled else { return [] }
        isTroubled = false
        return [.deliver(.recovered)]
    }
}

/// What a watcher tells about one collection.
package enum WatchDelivery: Hashable, Sendable {
    /// An object is new or has changed.
    case changed(Document)
    /// An object is gone; its last known state.
    case removed(Document)
    /// All objects that there were at the start have been delivered. Comes once.
    case synced
    /// The server cannot be asked at present; what was delivered may be out of date. Attempts go on.
    case troubled(APIFault)
    /// The server answers again.
    case recovered
}

extension APIFault {
    /// The answer was larger than what is read at once.
    var isTooLarge: Bool {
        switch self {
        case .transport(.tooLarge, _): true
        case .notUnderstood: true
        default: false
        }
    }
}
