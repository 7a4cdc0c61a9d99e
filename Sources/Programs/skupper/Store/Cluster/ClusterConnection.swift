import ControlIO
import Glibc
import KubernetesAPI

/// The API server of the cluster that a kubeconfig, or the pod this runs in, chooses.
struct ClusterConnection: ClusterAPI {
    /// How many objects come in one answer, as long as they fit.
    private static let page = 100
    /// The most an answer with objects may have, octets.
    private static let answerLimit = 64 << 20

    private let client: APIClient
    let namespace: String

    static func open(_ selection: ClusterSelection) throws(ClusterFault) -> any ClusterAPI {
        do {
            let access = try ClusterAccess.choose(
                kubeconfig: selection.kubeconfig, context: selection.context, namespace: selection.namespace,
                environment: Console.environment)
            return try ClusterConnection(client: APIClient(access), namespace: access.namespace)
        } catch let fault as ClusterAccessFault {
            let advice =
                fault.kind == .nothingConfigured
                ? ".\nTo work with a site on this host instead, use --platform linux or set SKUPPER_PLATFORM=linux" : ""
            throw .withoutAnswer(fault.description + advice, isTemporary: false)
        } catch {
            throw .withoutAnswer("\(error)", isTemporary: false)
        }
    }

    func get(_ type: ClusterType, _ name: String) throws(ClusterFault) -> Document {
        try object(APIRequest(.get, path(type, name)), place("get", type, name))
    }

    func list(_ type: ClusterType, labels: String, limit: Int) throws(ClusterFault) -> [Document] {
        var result: [Document] = []
        var next = ""
        var page = Self.page
        repeat {
            var request = APIRequest(.get, path(type))
            request.query = [("limit", String(min(page, limit - result.count)))]
            if !labels.isEmpty { request.query.append(("labelSelector", labels)) }
            if !next.isEmpty { request.query.append(("continue", next)) }
            let answer: Document
            do {
                answer = try client.object(request)
            } catch {
                // Large objects: fewer of them in one answer.
                guard page > 1, case .transport(.tooLarge, _) = error else {
                    throw Self.fault(error, place("list", type))
                }
                page = max(1, page / 4)
                continue
            }
            result += answer["items"]?.listValue ?? []
            next = answer.value(at: "metadata.continue")?.stringValue ?? ""
            if next.isEmpty { break }
        } while result.count < limit
        return result
    }

    func create(_ type: ClusterType, _ object: Document) throws(ClusterFault) -> Document {
        var request = APIRequest(.post, path(type))
        request.body = object
        request.query = [("fieldManager", "skupper-cli")]
        let name = object.value(at: "metadata.name")?.stringValue ?? ""
        do {
            return try client.object(request)
        } catch {
            // Sent twice by libcurl, over a kept connection that ended, a request finds what it made itself.
            guard Self.mayHaveBeenDone(error) || error.isAlreadyExists, !name.isEmpty else {
                throw Self.fault(error, place("create", type, name))
            }
            return try createdInDoubt(type, name, request)
        }
    }

    /// How long a server is asked that ended in the middle of an answer, milliseconds: as long as one takes to start.
    private static let doubtLimit = 60_000
    private static let doubtPause: UInt32 = 300_000

    /// A request was sent and its answer did not come: the server may have done what it asks for.
    private static func mayHaveBeenDone(_ fault: APIFault) -> Bool {
        switch fault {
        case .transport(.other, _), .transport(.timeout, _): true
        default: false
        }
    }

    /// Asks until it is known whether an object of which the creation was not answered is there; makes it if it is not.
    private func createdInDoubt(
        _ type: ClusterType, _ name: String, _ request: APIRequest
    ) throws(ClusterFault) -> Document {
        var waited = 0
        while true {
            do {
                return try foundOrMade(type, name, request)
            } catch {
                // A server that has just started does not serve every type yet.
                let isTypeMissing = error.isNotFound && error.reason.isEmpty
                let mayPass = error.isTemporary || Self.mayHaveBeenDone(error) || isTypeMissing
                guard mayPass, waited < Self.doubtLimit else { throw Self.fault(error, place("create", type, name)) }
                usleep(Self.doubtPause)
                waited += Int(Self.doubtPause / 1000)
            }
        }
    }

    private func foundOrMade(_ type: ClusterType, _ name: String, _ request: APIRequest) throws(APIFault) -> Document {
        let found: Document
        do {
            found = try client.object(APIRequest(.get, path(type, name)))
        } catch {
            guard error.isNotFound, !error.reason.isEmpty else { throw error }
            return try client.object(request)
        }
        if let spec = request.body?["spec"], MergePatch.isWithin(spec, found["spec"]) { return found }
        throw .answer(
            status: 409, reason: "AlreadyExists", message: "\(type.qualifiedName) \"\(name)\" already exists",
            retryAfterSeconds: 0)
    }

    func patch(_ type: ClusterType, _ name: String, _ patch: Document) throws(ClusterFault) -> Document {
        var request = APIRequest(.patch, path(type, name))
        request.body = patch
        request.contentType = "application/merge-patch+json"
        request.query = [("fieldManager", "skupper-cli")]
        return try object(request, place("patch", type, name))
    }

    func delete(_ type: ClusterType, _ name: String) throws(ClusterFault) {
        var request = APIRequest(.delete, path(type, name))
        request.body = ["kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"]
        _ = try object(request, place("delete", type, name))
    }

    func log(pod: String, container: String, previous: Bool, limit: Int) throws(ClusterFault) -> [UInt8] {
        var request = APIRequest(.get, path(.pods, pod) + ["log"])
        request.accept = "*/*"
        // The server counts octets from the start and lines from the end: the end is what matters.
        request.query = [("container", container), ("tailLines", "20000"), ("timestamps", "true")]
        if previous { request.query.append(("previous", "true")) }
        request.answerLimit = Self.answerLimit
        var place = place("get", .pods, pod)
        place.subresource = "log"
        return try Array(send(request, place).suffix(limit))
    }

    func serverVersion() throws(ClusterFault) -> Document {
        do {
            return try client.object(APIRequest(.get, ["version"]))
        } catch {
            throw Self.fault(error, place("get", ClusterType("", "v1", "version", "Version", isNamespaced: false)))
        }
    }

    func inNamespace(_ namespace: String) -> any ClusterAPI {
        ClusterConnection(client: client, namespace: namespace)
    }

    // MARK: Requests

    private func path(_ type: ClusterType, _ name: String? = nil) -> [String] {
        let group = type.group.isEmpty ? ["api", type.version] : ["apis", type.group, type.version]
        return group + (type.isNamespaced ? ["namespaces", namespace] : []) + [type.plural] + (name.map { [$0] } ?? [])
    }

    private func place(_ verb: String, _ type: ClusterType, _ name: String = "") -> ClusterRequest {
        ClusterRequest(verb: verb, type: type, name: name, namespace: namespace, server: client.access.server)
    }

    private func object(_ request: APIRequest, _ place: ClusterRequest) throws(ClusterFault) -> Document {
        do {
            return try client.object(request)
        } catch {
            throw Self.fault(error, place)
        }
    }

    private func send(_ request: APIRequest, _ place: ClusterRequest) throws(ClusterFault) -> [UInt8] {
        do {
            return try client.send(request)
        } catch {
            throw Self.fault(error, place)
        }
    }

    private static func fault(_ fault: APIFault, _ place: ClusterRequest) -> ClusterFault {
        if case .answer(let status, let reason, let message, _) = fault {
            return place.fault(status: status, reason: reason, message: message)
        }
        let text = fault.description
        return .withoutAnswer(text.prefix(1).uppercased() + text.dropFirst(), isTemporary: fault.isTemporary)
    }
}
