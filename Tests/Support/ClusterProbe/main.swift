// Lets the tests in Tests/Kubernetes use the module KubernetesAPI: one JSON command a line on standard input, one JSON
// answer a line on standard output, between them what watches and elections say.
//
//   cluster-probe KUBECONFIG [CONTEXT]

import ControlIO
import Glibc
import KubernetesAPI
import Threading

let arguments = CommandLine.arguments
do {
    let access = try ClusterAccess.choose(
        kubeconfig: arguments.count > 1 ? arguments[1] : nil, context: arguments.count > 2 ? arguments[2] : nil,
        namespace: nil, environment: { name in getenv(name).map { String(cString: $0) } })
    let probe = try ClusterProbe(access)
    while let line = readLine() { probe.take(line) }
    probe.stop()
} catch {
    print(JSON.emit(["id": "start", "fault": .string("\(error)")], pretty: false))
    exit(1)
}
