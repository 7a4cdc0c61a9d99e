import Glibc
import Testing

@testable import RouterConfig

@Suite struct StartEnvironmentTests {
    private static let names: [(variables: [String: String], source: StartEnvironment.Source?)] = [
        ([:], nil), (["QDROUTERD_CONF": ""], nil), (["QDROUTERD_CONF_TYPE": "json"], nil),
        (["QDROUTERD_CONF": "/a/b.json"], .places(["/a/b.json"], nil)),
        (["QDROUTERD_CONF": "/a.conf:/b,/c.json:"], .places(["/a.conf", "/b", "/c.json"], nil)),
        (["QDROUTERD_CONF": "/a", "QDROUTERD_CONF_TYPE": "json"], .places(["/a"], .json)),
        (["QDROUTERD_CONF": "/a.json\n/b", "QDROUTERD_CONF_TYPE": "conf"], .places(["/a.json"], .conf)),
        (["QDROUTERD_CONF": "/a", "QDROUTERD_CONF_TYPE": "yaml"], .places(["/a"], .conf)),
        (["QDROUTERD_CONF": "router {\n}\n"], .inline("router {\n}\n", .conf)),
        (["QDROUTERD_CONF": "{}"], .inline("{}", .conf)),
        (["QDROUTERD_CONF": "[[{}]]", "QDROUTERD_CONF_TYPE": "json"], .inline("[[{}]]", .json)),
        // No pair of braces: paths.
        (["QDROUTERD_CONF": "}x{"], .places(["}x{"], nil)),
    ]

    @Test(arguments: names)
    func theConfigurationIsTextOrPlaces(variables: [String: String], source: StartEnvironment.Source?) {
        #expect(StartEnvironment(variables).source == source, "\(variables)")
    }

    @Test(arguments: [
        ("1048576", 1_048_576), (" 64MiB", 64), ("0", nil), ("-5", nil), ("", nil), ("much", nil),
        ("99999999999999999999", nil),
    ] as [(String, Int?)])
    func theMemoryCeilingIsANumberOfOctets(text: String, octets: Int?) {
        #expect(StartEnvironment(["SKUPPER_ROUTER_MEMORY_CEILING": text]).memoryCeiling == octets)
    }

    @Test func variablesAreMadeOnlyWhenAskedFor() {
        func value(_ name: String, _ variables: [String: String]) -> String? {
            StartEnvironment(variables).value(
                of: name, hostName: { "host-of-7" }, hostAddresses: { "192.0.2.1 192.0.2.2" })
        }
        #expect(value("HOSTNAME_IP_ADDRESS", [:]) == "192.0.2.1 192.0.2.2")
        #expect(value("POD_ID", [:]) == "7")
        #expect(value("POD_ID", ["HOSTNAME": "router-abc-x1"]) == "x1")
        #expect(value("POD_ID", ["HOSTNAME": "router"]) == "router")
        #expect(value("POD_ID", ["HOSTNAME": "router-"]) == "")
        #expect(value("POD_ID", ["POD_ID": "mine"]) == "mine")
        #expect(value("HOSTNAME", [:]) == nil)
        _ = StartEnvironment(["A": "b"]).value(
            of: "A", hostName: { fatalError("asked") }, hostAddresses: { fatalError("asked") })
    }

    @Test func whatIsAskedForInVainIsSaid() {
        #expect(StartEnvironment(["QDROUTERD_AUTO_MESH_DISCOVERY": ""]).warnings == [])
        let warnings = StartEnvironment([
            "QDROUTERD_AUTO_MESH_DISCOVERY": "QUERY", "QDROUTERD_AUTO_CREATE_SASLDB_SOURCE": "/x",
        ]).warnings
        #expect(warnings.count == 2)
        #expect(warnings.first?.hasPrefix("QDROUTERD_AUTO_MESH_DISCOVERY has no effect") == true)
    }

    // MARK: Reading

    /// A folder with these files, for the time of `body`.
    private static func withFolder<Result>(
        _ files: [String: String], _ body: (String) throws -> Result
    ) throws -> Result {
        var template = Array(("/tmp" + "/start-environment-" + String(repeating: "X", count: 6)).utf8CString)
        let folder = try #require(mkdtemp(&template).map { String(cString: $0) })
        defer {
            for name in files.keys { unlink("\(folder)/\(name)") }
            rmdir(folder)
        }
        for (name, text) in files { try RepositoryFile.write(text, to: "\(folder)/\(name)") }
        return try body(folder)
    }

    private static let files = [
        "20.conf": "listener {\n port: 1\n name: $A\n}\n", "10.conf": "router {\n id: ${A}-${POD.ID}\n}\n",
        "15.json": #"[["listener", {"name": "j", "port": 2}]]"#, ".hidden.conf": "nonsense", "notes.txt": "nonsense",
    ]

    private static func load(_ text: String, type: String? = nil) throws -> RouterConfiguration {
        var variables = ["QDROUTERD_CONF": text, "A": "a", "POD.ID": "p"]
        variables["QDROUTERD_CONF_TYPE"] = type
        let source = try #require(StartEnvironment(variables).source)
        return try RouterConfiguration.load(from: source, warnings: ["first"]) { variables[$0] }
    }

    @Test func foldersAndFilesAreOneConfiguration() throws {
        let ids = try Self.withFolder(Self.files) { folder in
            let whole = try Self.load(folder)
            #expect(whole.entities(ofType: "listener").map(\.name) == ["j", "a"])
            #expect(whole.warnings == ["first"])
            let listed = try Self.load("\(folder)/20.conf,\(folder)/10.conf")
            #expect(listed.entities.map(\.name) == ["router/a-p", "a"])
            return [whole.router[string: "id"], listed.router[string: "id"]]
        }
        #expect(ids == ["a-p", "a-p"])
    }

    @Test func theTypeOverridesNames() throws {
        let text = #"[["router", {"id": "$A"}]]"#
        let id = try Self.withFolder(["x.conf": text]) {
            try Self.load("\($0)/x.conf", type: "json").router[string: "id"]
        }
        #expect(id == "a")
        #expect(try Self.load("router {\n metadata: $A.$B\n}").router[string: "metadata"] == "a.$B")
    }

    private static func message(_ body: () throws -> RouterConfiguration) -> String {
        do {
            return "no error: \(try body().entities)"
        } catch { return "\(error)" }
    }

    @Test func errorsTellTheFile() throws {
        let files = ["a.conf": "router {\n}\n", "b.conf": "router {\n id: b\n}\n"]
        let (folder, second) = try Self.withFolder(files) { folder in (folder, Self.message { try Self.load(folder) }) }
        #expect(second.hasPrefix("\(folder)/b.conf:1: the configuration has 2 router"), "\(second)")
        let missing = Self.message { try Self.load("/no/such:/other") }
        #expect(missing.hasPrefix("cannot read /no/such: "), "\(missing)")
        let unset = Self.message { try Self.load("router {\n id: ${B} x\n}") }
        #expect(unset.hasPrefix("QDROUTERD_CONF"), "\(unset)")
    }
}
