import ControlIO
import SiteModel
import Testing

@testable import skupper

@Suite("debug dump of a cluster")
struct ClusterDumpTests {
    private func dump(_ cluster: FakeCluster) throws -> [String: String] {
        var dump = ClusterDump(FakeView(cluster: cluster, namespace: "west"))
        try dump.collect()
        return Dictionary(uniqueKeysWithValues: dump.files.map { ($0.path, String(decoding: $0.bytes, as: UTF8.self)) })
    }

    private let objects = """
        apiVersion: skupper.io/v2alpha1
        kind: Site
        metadata: {name: west, managedFields: [{manager: someone}]}
        status: {controller: {namespace: skupper}}
        ---
        apiVersion: skupper.io/v2alpha1
        kind: Listener
        metadata:
          name: a
          annotations: {kubectl.kubernetes.io/last-applied-configuration: "the hidden-1"}
        spec: {tlsCredentials: mine}
        ---
        apiVersion: skupper.io/v2alpha1
        kind: AccessGrant
        metadata: {name: g}
        spec: {code: hidden-2}
        status: {code: hidden-3, url: "https://192.0.2.1/x"}
        ---
        apiVersion: skupper.io/v2alpha1
        kind: AccessToken
        metadata: {name: t}
        spec: {code: hidden-4}
        ---
        apiVersion: v1
        kind: Secret
        metadata: {name: mine, annotations: {a: hidden-5}}
        data: {tls.key: hidden-6, tls.crt: shown-1, password: hidden-7}
        ---
        apiVersion: v1
        kind: Secret
        metadata: {name: of-others}
        data: {tls.crt: hidden-8}
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: skupper-router}
        data: {skrouterd.json: '[["proxyProfile", {"password": "hidden-9", "host": "shown-2"}]]', bad.json: 'hidden-10'}
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: of-others}
        data: {a: hidden-11}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: shop-1, labels: {app: shop}}
        spec:
          containers:
          - {name: shop, image: i, args: [hidden-12], command: [hidden-13], env: [{name: A, value: hidden-14}]}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: skupper-router-1, labels: {skupper.io/component: router}}
        spec:
          containers:
          - name: router
            image: i
            env: [{name: SKUPPER_SITE_ID, value: shown-3}, {name: PROXY_PASSWORD, value: hidden-15}]
        status: {containerStatuses: [{name: router, restartCount: 2}]}
        """

    @Test("what is needed is there, and no secret is")
    func secrets() throws {
        let cluster = FakeCluster()
        cluster.put(objects)
        cluster.put(
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: skupper-controller}}", namespace: "skupper")
        cluster.logs = ["skupper-router-1/router": "shown-4\n", "skupper-router-1/router/previous": "shown-5\n"]
        let files = try dump(cluster)
        for (path, text) in files { #expect(!text.contains("hidden-"), "\(path): \(text)") }
        let everything = files.values.joined()
        for number in 1...5 { #expect(everything.contains("shown-\(number)"), "shown-\(number)") }
        #expect(files["sites.skupper.io/west.yaml"]?.contains("managedFields") == false)
        #expect(files["pods/shop-1.yaml"] != nil)
        #expect(files["secrets/of-others.yaml"] == nil)
        #expect(files["logs/skupper-router-1-router-previous.log"] == "shown-5\n")
        #expect(files["controller-skupper/deployments.apps/skupper-controller.yaml"] != nil)
        #expect(files["versions.txt"]?.contains("server v1.30.1") == true)
    }

    @Test("what may not be read is named and left out")
    func permission() throws {
        let cluster = FakeCluster()
        cluster.put(objects)
        cluster.faults["list secrets"] = (403, "Forbidden", "no")
        cluster.missingTypes = ["multikeylisteners.skupper.io"]
        let files = try dump(cluster)
        #expect(files["secrets/mine.yaml"] == nil)
        let listing = try #require(files["files.txt"])
        #expect(listing.contains("west/secrets left out: You are not allowed to list secrets"))
        #expect(listing.contains("west/multikeylisteners.skupper.io left out: "))
        #expect(files["listeners.skupper.io/a.yaml"] != nil)
    }
}
