import Glibc
import KubernetesAPI
import KubernetesPlatform
import LocalPlatform

/// The platforms kubernetes and adaptor.
enum ClusterCommand {
    /// The controller of a cluster; until a signal stops it.
    static func controller(kubeconfig: String?, namespace: String?) throws {
        let access = try ClusterAccess.choose(
            kubeconfig: kubeconfig, context: nil, namespace: namespace, environment: variable)
        let environment = ControllerEnvironment(namespace: access.namespace, variable: variable)
        if let fault = environment.settings.faults.first { throw ConfigurationFault(description: fault) }
        let log = ControllerLog(namespace: environment.watchedNamespace ?? "*")
        let controller = try ClusterController(access, environment: environment, log: log)
        try controller.run(signals: try ControllerSignals())
    }

    /// What runs beside a router; with `isInit` only what is to be there before the router starts.
    static func adaptor(kubeconfig: String?, namespace: String?, isInit: Bool) throws {
        let access = try ClusterAccess.choose(
            kubeconfig: kubeconfig, context: nil, namespace: namespace, environment: variable)
        let environment = AdaptorEnvironment(namespace: access.namespace, variable: variable)
        let adaptor = RouterAdaptor(
            access, environment: environment, log: ControllerLog(namespace: environment.namespace))
        if isInit {
            try adaptor.prepare()
        } else {
            try adaptor.run(signals: try ControllerSignals())
        }
    }

    private struct ConfigurationFault: Error, CustomStringConvertible {
        let description: String
    }

    private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}
