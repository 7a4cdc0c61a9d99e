import ControlIO
import SiteModel
import Testing

@testable import skupper

@Suite("Clusters that refuse, lack something or are away")
struct ClusterFaultTests {
    @Test(
        "definitions missing: what to install, exit code 2",
        arguments: [
            "site create west", "site status", "listener create a 80", "connector status", "token issue t.yaml",
            "link status", "site delete west",
        ])
    func definitionsMissing(line: String) {
        let cluster = FakeCluster()
        cluster.missingTypes = Set(ResourceKind.allCases.map(\.clusterType.qualifiedName))
        let answer = cluster.run(line)
        #expect(
            answer.output.contains("the Skupper CRDs are not installed there.\nInstall them with: kubectl apply -f "))
        // Only `site status` has nothing to validate before it asks.
        #expect(answer.code == (line == "site status" ? 1 : 2), "\(answer)")
    }

    @Test("permission missing: verb, resource, namespace and the rule that would help")
    func permissionMissing() {
        let cluster = FakeCluster()
        cluster.faults["create sites"] = (403, "Forbidden", "sites.skupper.io is forbidden: User \"me\" cannot create")
        let answer = cluster.run("site create west -n east")
        #expect(answer.code == 1)
        #expect(answer.output.hasPrefix("You are not allowed to create sites.skupper.io in namespace \"east\"."))
        #expect(answer.output.contains("User \"me\" cannot create"))
        #expect(answer.output.contains("--verb=create --resource=sites.skupper.io -n east"))

        cluster.faults["list sites"] = (403, "Forbidden", "no")
        let listing = cluster.run("site update west")
        #expect(listing.output.hasPrefix("You are not allowed to list sites.skupper.io in namespace \"west\"."))
        #expect(listing.code == 2)
    }

    @Test("a namespace that is not there")
    func namespaceMissing() {
        let cluster = FakeCluster()
        cluster.faults["create sites"] = (404, "NotFound", "namespaces \"mars\" not found")
        let answer = cluster.run("site create west -n mars")
        #expect(answer.output.hasPrefix("namespace \"mars\" does not exist in the cluster: make it with"))
    }

    @Test("what the API server refuses is said in its words")
    func invalid() {
        let cluster = FakeCluster()
        let said = "Listener.skupper.io \"a\" is invalid: spec.port: Invalid value: 0"
        cluster.faults["create listeners"] = (422, "Invalid", said)
        let answer = cluster.run("listener create a 0")
        #expect(answer.output == said + "\n")
        #expect(answer.code == 1)
    }

    @Test("credentials that have expired")
    func unauthorized() {
        let cluster = FakeCluster()
        cluster.faults["list sites"] = (401, "Unauthorized", "Unauthorized")
        let answer = cluster.run("site create west")
        #expect(answer.output.contains("does not accept your credentials (401 Unauthorized)"))
        #expect(answer.output.contains("https://192.0.2.1:6443"))
    }

    @Test("an API server that is away for a moment while waiting does not end the waiting")
    func shortAbsence() {
        let cluster = FakeCluster()
        cluster.controller = {
            let away = (2000..<8000).contains($0.waited)
            $0.faults["get sites"] = away ? (0, "", "connect 192.0.2.1:6443: connection refused") : nil
            if $0.waited > 9000 {
                $0.setStatus(
                    .site, "west", status: "Ready",
                    conditions: [("Configured", true, "OK"), ("Running", true, "OK"), ("Ready", true, "OK")])
            }
        }
        let answer = cluster.run("site create west")
        #expect(answer.output == "Site \"west\" is ready.\n")
        #expect(answer.code == 0)
    }

    @Test("an API server that stays away is the reason given when the time is up", arguments: [0, 503, 429])
    func longAbsence(status: Int) {
        let cluster = FakeCluster()
        cluster.controller = { $0.faults["get sites"] = (status, "", "connect 192.0.2.1:6443: connection refused") }
        let answer = cluster.run("site create west --timeout 10s")
        #expect(answer.code == 1)
        #expect(answer.output.contains(status == 0 ? "connection refused" : "The API server https://192.0.2.1:6443"))
        #expect((10_000...11_000).contains(cluster.waited))
    }

    @Test("a permission taken away while waiting ends the waiting at once")
    func permissionLost() {
        let cluster = FakeCluster()
        cluster.controller = { $0.faults["get sites"] = (403, "Forbidden", "no") }
        let answer = cluster.run("site create west")
        #expect(answer.output.hasPrefix("You are not allowed to get sites.skupper.io"))
        #expect(cluster.waited < 1000)
    }

    @Test("no cluster: the reason, exit code 1; commands that need none run")
    func noCluster() {
        let recorder = ConsoleRecorder()
        var asked: [ClusterSelection] = []
        func run(_ line: String) -> Int32 {
            Console.$recorder.withValue(recorder) {
                Frame.run(
                    line.split(separator: " ").map(String.init), platformVariable: nil,
                    connect: { (selection: ClusterSelection) throws(ClusterFault) in
                        asked.append(selection)
                        throw .withoutAnswer("there is no kubeconfig", isTemporary: false)
                    })
            }
        }
        #expect(run("site status --context blue --kubeconfig f.yaml -n east") == 1)
        #expect(recorder.output == "there is no kubeconfig\n")
        #expect(asked.count == 1)
        #expect(asked.first?.context == "blue")
        #expect(asked.first?.kubeconfig == "f.yaml")
        #expect(asked.first?.namespace == "east")
        #expect(run("version") == 0)
        #expect(run("site generate west") == 0)
        #expect(run("system start") == 0)
        #expect(run("site status --platform linux -n a--b-") != 1)
        #expect(asked.count == 1)
    }
}
