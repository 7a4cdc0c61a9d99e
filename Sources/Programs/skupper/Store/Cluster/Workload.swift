import ControlIO
import SiteModel

/// A workload as `--workload` names it, `<resource-type>/<resource-name>`, of which a connector takes the pods.
struct Workload {
    /// Why a workload gives no selector, in upstream's words.
    struct Fault: Error {
        let text: String
    }

    private let type: ClusterType?
    private let name: String

    /// - Parameter text: checked by `FieldRules.workload`.
    init(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
        switch parts.first?.lowercased() {
        case "deployment": type = .deployments
        case "service": type = .services
        case "daemonset": type = .daemonSets
        case "statefulset": type = .statefulSets
        default: type = nil
        }
        name = parts.count == 2 ? parts[1] : ""
    }

    /// Reads the labels by which the workload finds its pods, as a selector `key=value,…`.
    /// - Throws: `ClusterFault` when the cluster cannot be asked at all.
    func selector(in cluster: ClusterResources) throws(ClusterFault) -> Result<String, Fault> {
        guard let type else {
            return .failure(Fault(text: "workload must include <resource-type>/<resource-name>"))
        }
        let object: Document
        do {
            object = try cluster.api.get(type, name)
        } catch {
            guard error.status != 0 else { throw error }
            return .failure(Fault(text: "failed trying to get \(type.kind) specified by workload: \(error)"))
        }
        let isService = type.kind == "Service"
        let labels = object.value(at: isService ? ["spec", "selector"] : ["spec", "selector", "matchLabels"])
        let pairs = (labels?.mapValue?.entries ?? []).map { "\($0.key)=\($0.value.scalarText ?? "")" }.sorted()
        guard !pairs.isEmpty else {
            return .failure(
                Fault(
                    text: isService
                        ? "workload, no selector labels found" : "workload, no selector Matchlabels found"))
        }
        return .success(pairs.joined(separator: ","))
    }
}
