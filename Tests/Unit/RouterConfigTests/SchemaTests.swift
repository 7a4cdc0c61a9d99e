import Testing

@testable import RouterConfig

@Suite struct SchemaTests {
    @Test func namesLeadToTypes() throws {
        #expect(Schema.type(named: "tcpListener")?.longName == "io.skupper.router.tcpListener")
        #expect(Schema.type(named: "io.skupper.router.router.node")?.shortName == "router.node")
        #expect(Schema.type(named: "address")?.shortName == "router.config.address")
        #expect(Schema.type(named: "autoLink")?.shortName == "router.config.autoLink")
        #expect(Schema.type(named: "auto-link")?.shortName == "router.config.autoLink")
        #expect(Schema.type(named: "ssl-profile")?.shortName == "sslProfile")
        #expect(Schema.type(named: "io.skupper.router.connection")?.isConfigurable == false)
        for name in ["", "-", "TCPListener", "io.skupper.router.", "linkRoute"] {
            #expect(Schema.type(named: name) == nil, "\(name)")
        }
    }

    @Test func everyTypeIsWellFormed() {
        var names: Set<String> = []
        for type in Schema.types {
            #expect(names.insert(type.shortName).inserted, "\(type.shortName) twice")
            #expect(!type.description.isEmpty)
            #expect(type.operations.contains(.query))
            #expect(type.attributes.prefix(3).map(\.name) == ["name", "identity", "type"])
            #expect(Set(type.attributes.map(\.name)).count == type.attributes.count, "\(type.shortName)")
            for attribute in type.attributes {
                #expect(attribute.summary.hasSuffix("."), "\(type.shortName).\(attribute.name)")
                #expect(type.attribute(attribute.name) == attribute)
                guard let value = attribute.defaultValue else { continue }
                switch (attribute.kind, value) {
                case (.enumeration(let words), .string(let word)): #expect(words.contains(word))
                case (.integer, .integer(let number)): #expect(attribute.range?.contains(number) ?? true)
                case (.port, .string(let text)): #expect(Schema.portNumber(text) != nil)
                case (.string, .string), (.path, .string), (.boolean, .boolean): break
                default: Issue.record("default of \(type.shortName).\(attribute.name) does not fit its kind")
                }
            }
        }
    }

    /// Controllers compare these with what they want (router-protocol.md §6.2, §6.3).
    @Test(arguments: [
        ("router", "helloMaxAgeSeconds", "3"), ("router", "mode", "standalone"), ("router", "workerThreads", "4"),
        ("router", "dataConnectionCount", "auto"), ("router", "saslConfigName", "skrouterd"), ("router", "area", "0"),
        ("listener", "host", ""), ("listener", "port", "amqp"), ("listener", "maxFrameSize", "16384"),
        ("listener", "maxSessions", "32768"), ("listener", "idleTimeoutSeconds", "16"), ("listener", "cost", "1"),
        ("listener", "http", "false"), ("listener", "healthz", "true"), ("connector", "host", "127.0.0.1"),
        ("connector", "verifyHostname", "true"), ("tcpListener", "observer", "auto"), ("tcpListener", "host", ""),
        ("tcpConnector", "host", "127.0.0.1"), ("router.config.address", "distribution", "balanced"),
        ("policy", "defaultVhost", "$default"), ("vhostUserGroupSettings", "maxSenders", "2147483647"),
    ])
    func defaultsAreThoseOfSkrouterd(type: String, attribute: String, value: String) {
        #expect(Schema.type(named: type)?.attribute(attribute)?.defaultValue?.description == value)
    }

    @Test func operationsFollowTheSheet() {
        func operations(_ name: String) -> Set<Operation> { Schema.type(named: name)?.operations ?? [] }
        #expect(operations("router") == [.read, .query])
        #expect(operations("log") == [.read, .query, .update])
        #expect(operations("tcpConnector") == [.create, .read, .delete, .query])
        #expect(operations("tcpListener") == [.create, .read, .update, .delete, .query])
        #expect(operations("sslProfile") == [.create, .read, .update, .delete, .query])
        // Beyond skrouterd: the cost of a link can be changed live.
        #expect(operations("connector").contains(.update))
        #expect(Schema.type(named: "connector")?.attributes.filter(\.isUpdatable).map(\.name) == ["cost"])
        #expect(operations("routerMetrics") == [.query])
    }

    @Test func helpTellsEveryAttributeOfAType() throws {
        for type in Schema.types {
            let text = Schema.helpText(type)
            #expect(text.hasPrefix("\(type.shortName): \(type.description)\n"))
            for attribute in type.attributes { #expect(text.contains("\n  \(attribute.name)  (")) }
            for line in text.split(separator: "\n").dropFirst() where line.hasPrefix("      ") {
                #expect(line.count <= 80, "\(line)")
            }
            #expect(Schema.typeList().contains("  \(type.shortName)\n"))
        }
        let text = Schema.helpText(try #require(Schema.type(named: "tcpListener")))
        #expect(text.contains("  observer  (none, auto, http1, http2; default auto; updatable)\n"))
        #expect(text.contains("  backlog  (integer"))
        #expect(Schema.suggestedType(for: "tcp-listner") == "tcpListener")
        #expect(Schema.suggestedType(for: "qqqqqq") == nil)
    }

    @Test func committedPageIsCurrent() throws {
        let path = RepositoryFile.path("docs/router-configuration.md")
        if RepositoryFile.isRewriteRequested { try RepositoryFile.write(Schema.referencePage(), to: path) }
        #expect(
            try RepositoryFile.read(path) == Schema.referencePage(),
            "run the tests once with SKUPPER_WRITE_PAGES=1 and commit docs/router-configuration.md")
    }
}
