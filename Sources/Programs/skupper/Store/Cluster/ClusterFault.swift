/// Why a request to a cluster gave no object. `description` is what the user reads.
struct ClusterFault: Error, CustomStringConvertible {
    /// The HTTP status of the answer; 0 when there was none.
    let status: Int
    /// The reason word of the answer, for example `NotFound`; empty when there was none.
    let reason: String
    /// What happened, the likely cause and what to do; several lines are possible.
    let description: String
    /// Whether a later attempt may succeed without anything being changed by a person.
    let isTemporary: Bool

    /// The server knows the type, and there is no object of the name.
    var isObjectMissing: Bool { status == 404 && reason == "NotFound" }
    /// The server does not know the type: its definition is not installed.
    var isTypeMissing: Bool { status == 404 && reason.isEmpty }

    /// Whether it may pass while a command waits. A server that has just started does not serve every type yet.
    var mayPass: Bool { isTemporary || isTypeMissing }

    /// A fault without an answer of a server.
    /// - Parameter description: what happened, the likely cause and what to do.
    static func withoutAnswer(_ description: String, isTemporary: Bool) -> ClusterFault {
        ClusterFault(status: 0, reason: "", description: description, isTemporary: isTemporary)
    }
}

/// A request to a cluster, as the texts about its failure name it.
struct ClusterRequest {
    /// The verb of access rules: `get`, `list`, `create`, `patch`, `delete`.
    let verb: String
    let type: ClusterType
    /// Empty when the request is not about one object.
    var name = ""
    /// Part of the type that is asked for, for example `log` of pods; empty for objects themselves.
    var subresource = ""
    let namespace: String
    /// The address of the API server.
    let server: String

    private var resource: String {
        subresource.isEmpty ? type.qualifiedName : "\(type.qualifiedName)/\(subresource)"
    }

    /// The fault that an answer other than success stands for.
    /// - Parameters:
    ///   - status: the HTTP status.
    ///   - reason: the reason word of the Status object; empty when the answer was none.
    ///   - message: the message of the Status object, or the text of the answer.
    func fault(status: Int, reason: String, message: String) -> ClusterFault {
        ClusterFault(
            status: status, reason: reason, description: explanation(status, reason, message),
            isTemporary: status == 429 || status >= 500)
    }

    private func explanation(_ status: Int, _ reason: String, _ message: String) -> String {
        let said = message.isEmpty ? "HTTP status \(status)" : message
        switch (status, reason) {
        case (401, _):
            return
                "The API server \(server) does not accept your credentials (401 Unauthorized): they may have expired. "
                + "Log in to the cluster again, or choose another context with --context"
        case (403, _):
            return forbidden(said)
        case (404, "") where type.group == "skupper.io":
            return "The cluster does not know \(type.qualifiedName): the Skupper CRDs are not installed there.\n"
                + "Install them with: kubectl apply -f deploy/kubernetes/install.yaml"
        case (404, ""):
            return "The cluster does not know \(type.qualifiedName) (\(type.apiVersion)): its version may be too old"
        case (404, _) where verb == "create":
            return "namespace \"\(namespace)\" does not exist in the cluster: make it with "
                + "kubectl create namespace \(namespace), or choose another one with --namespace"
        case (409, "Conflict"):
            return "\(resource) \"\(name)\" was changed by somebody else at the same moment: try again"
        case (429, _):
            return "The API server \(server) is overloaded and asks to be left alone for a while (429): try again"
        case (500..., _):
            return "The API server \(server) failed (\(status)): \(said). Try again; if it goes on, look at the cluster"
        default:
            return said
        }
    }

    /// Names verb, resource and namespace, and the rule that is missing.
    private func forbidden(_ said: String) -> String {
        let place = type.isNamespaced ? " in namespace \"\(namespace)\"" : " in the cluster"
        let kind = type.isNamespaced ? "role" : "clusterrole"
        let option = type.isNamespaced ? " -n \(namespace)" : ""
        return "You are not allowed to \(verb) \(resource)\(place). The API server says: \(said)\n"
            + "Somebody who administers \(type.isNamespaced ? "the namespace" : "the cluster") can allow it with a "
            + "rule: kubectl create \(kind) skupper-user --verb=\(verb) --resource=\(resource)\(option), and a "
            + "binding of it to you"
    }
}
