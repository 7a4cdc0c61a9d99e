import ControlIO

/// What happens to the objects that an object owns when it is deleted.
package enum DeletePropagation: String, Sendable {
    case background = "Background"
    case foreground = "Foreground"
    case orphan = "Orphan"
}

/// Requests about objects. Each throws the `APIFault` that says why it gave nothing; `namespace` is nil for kinds
/// outside of namespaces.
extension APIClient {
    /// How many objects come in one answer: so few that even large ones stay below the limits of an answer.
    package static let pageSize = 100
    /// The most objects that one list gives; a longer one is refused rather than cut.
    package static let listLimit = 50_000

    /// Reads one object.
    package func get(_ resource: APIResource, namespace: String?, name: String) throws(APIFault) -> Document {
        try object(APIRequest(.get, resource.path(namespace: namespace, name: name)))
    }

    /// Reads one object; nil when there is none of that name.
    package func getIfExists(
        _ resource: APIResource, namespace: String?, name: String
    ) throws(APIFault) -> Document? {
        do {
            return try get(resource, namespace: namespace, name: name)
        } catch {
            if error.isNotFound { return nil }
            throw error
        }
    }

    /// Reads all objects of a kind, page by page.
    /// - Parameters:
    ///   - namespace: nil for all namespaces.
    ///   - labels: a label selector; empty for all.
    package func list(
        _ resource: APIResource, namespace: String?, labels: String = ""
    ) throws(APIFault) -> [Document] {
        var result: [Document] = []
        var next = ""
        repeat {
            let answer = try object(
                Self.page(resource, namespace: namespace, labels: labels, limit: Self.pageSize, next: next))
            guard let items = answer["items"]?.listValue else {
                throw .notUnderstood("the API server \(access.server) answered a list of \(resource.plural) "
                    + "without items")
            }
            result += items.map(resource.completed)
            next = answer.value(at: "metadata.continue")?.stringValue ?? ""
            guard result.count <= Self.listLimit else {
                throw .notUnderstood("there are more than \(Self.listLimit) \(resource.plural): name a "
                    + "namespace or labels")
            }
        } while !next.isEmpty
        return result
    }

    /// The request for one page of a list.
    /// - Parameters:
    ///   - limit: the most objects in it.
    ///   - next: the mark that the page before it ended with; empty for the first.
    static func page(
        _ resource: APIResource, namespace: String?, labels: String, limit: Int, next: String
    ) -> APIRequest {
        var request = APIRequest(.get, resource.path(namespace: namespace))
        request.query = [("limit", String(limit))]
        if !labels.isEmpty { request.query.append(("labelSelector", labels)) }
        if !next.isEmpty { request.query.append(("continue", next)) }
        request.answerLimit = 32 << 20
        return request
    }

    /// Makes an object and gives it as stored; 409 `AlreadyExists` when its name is taken.
    package func create(
        _ resource: APIResource, namespace: String?, _ object: Document, fieldManager: String = ""
    ) throws(APIFault) -> Document {
        var request = APIRequest(.post, resource.path(namespace: namespace))
        request.body = object
        if !fieldManager.isEmpty { request.query = [("fieldManager", fieldManager)] }
        return try self.object(request)
    }

    /// Replaces an object, or a part of it, and gives it as stored; 409 `Conflict` when it carries a
    /// `resourceVersion` that is no longer the stored one.
    /// - Parameter subresource: `status` for the status alone.
    package func update(
        _ resource: APIResource, namespace: String?, _ object: Document, subresource: String? = nil,
        fieldManager: String = ""
    ) throws(APIFault) -> Document {
        guard let key = ObjectKey(of: object) else { throw .notUnderstood("an object without a name cannot be "
            + "updated") }
        var request = APIRequest(
            .put, resource.path(namespace: namespace, name: key.name, subresource: subresource))
        request.body = object
        if !fieldManager.isEmpty { request.query = [("fieldManager", fieldManager)] }
        return try self.object(request)
    }

    /// Changes the fields that a patch names (RFC 7396) and gives the object as stored.
    /// - Parameter subresource: `status` for the status alone.
    package func merge(
        _ resource: APIResource, namespace: String?, name: String, _ patch: Document, subresource: String? = nil,
        fieldManager: String = ""
    ) throws(APIFault) -> Document {
        var request = APIRequest(
            .patch, resource.path(namespace: namespace, name: name, subresource: subresource))
        request.body = patch
        request.contentType = "application/merge-patch+json"
        if !fieldManager.isEmpty { request.query = [("fieldManager", fieldManager)] }
        return try object(request)
    }

    /// Server-side apply: makes the object or changes it so that the fields of `object` are as given, and that fields
    /// which this manager gave before and no longer gives are gone. Gives the object as stored.
    /// - Parameters:
    ///   - fieldManager: who applies; the same word each time.
    ///   - force: take over fields that another manager set; without it such a field is 409 `Conflict`.
    ///   - subresource: `status` for the status alone.
    package func apply(
        _ resource: APIResource, namespace: String?, _ object: Document, fieldManager: String, force: Bool = true,
        subresource: String? = nil
    ) throws(APIFault) -> Document {
        guard let key = ObjectKey(of: object) else { throw .notUnderstood("an object without a name cannot be "
            + "applied") }
        var content = object
        content["apiVersion"] = .string(resource.apiVersion)
        content["kind"] = .string(resource.kind)
        var request = APIRequest(
            .patch, resource.path(namespace: namespace, name: key.name, subresource: subresource))
        request.body = content
        // JSON is YAML, and this is the only media type that means apply.
        request.contentType = "application/apply-patch+yaml"
        request.query = [("fieldManager", fieldManager), ("force", force ? "true" : "false")]
        return try self.object(request)
    }

    /// Deletes an object. True when it was there.
    /// - Parameter uid: delete only the object that has this uid; another one of the same name is 409 `Conflict`.
    @discardableResult
    package func delete(
        _ resource: APIResource, namespace: String?, name: String, propagation: DeletePropagation = .background,
        uid: String? = nil
    ) throws(APIFault) -> Bool {
        var request = APIRequest(.delete, resource.path(namespace: namespace, name: name))
        var options: Document = ["kind": "DeleteOptions", "apiVersion": "v1"]
        options["propagationPolicy"] = .string(propagation.rawValue)
        if let uid { options.set(.string(uid), at: ["preconditions", "uid"]) }
        request.body = options
        do {
            _ = try send(request)
            return true
        } catch {
            if error.isNotFound { return false }
            throw error
        }
    }

    /// Reads text, for example the log of a pod; more than `limit` octets are `APIFault.transport(.tooLarge…)`.
    package func text(
        _ path: [String], query: [(name: String, value: String)], limit: Int
    ) throws(APIFault) -> [UInt8] {
        var request = APIRequest(.get, path)
        request.query = query
        request.accept = "*/*"
        request.answerLimit = limit
        return try send(request)
    }
}

extension APIFault {
    /// The status of the answer; nil when none came.
    package var status: Int? { if case .answer(let status, _, _, _) = self { status } else { nil } }
    /// The word that the server gave as reason; empty when none came.
    package var reason: String { if case .answer(_, let reason, _, _) = self { reason } else { "" } }
    /// There is no object of that name, or no such kind on this server.
    package var isNotFound: Bool { status == 404 }
    /// Somebody else changed the object since it was read, or owns a field of it.
    package var isConflict: Bool { status == 409 && reason != "AlreadyExists" }
    /// The name of a new object is taken.
    package var isAlreadyExists: Bool { status == 409 && reason == "AlreadyExists" }
    /// The RBAC rules do not allow it; the message names the verb and the resource.
    package var isForbidden: Bool { status == 403 }
    /// The version to continue from is older than what the server keeps: list anew.
    package var isExpired: Bool { status == 410 }
    /// How long the server wants to be left alone, milliseconds; 0 when it says nothing.
    package var retryAfterMilliseconds: Int {
        if case .answer(_, _, _, let seconds) = self { max(0, min(seconds, 3600)) * 1000 } else { 0 }
    }
}
