import ControlIO
import Foundation
import SiteModel
import Testing

@testable import LocalPlatform

@Suite struct LocalStoreTests {
    @Test func dataHomeFollowsTheRules() {
        func resolve(_ user: uid_t, _ environment: [String: String]) -> String {
            DataHome.resolve(userID: user) { environment[$0] }.path
        }
        #expect(resolve(0, ["HOME": "/root"]) == "/var/lib/skupper")
        #expect(resolve(0, ["SKUPPER_OUTPUT_PATH": "/srv/s/", "HOME": "/root"]) == "/srv/s")
        #expect(resolve(1000, ["HOME": "/home/u"]) == "/home/u/.local/share/skupper")
        #expect(resolve(1000, ["HOME": "/home/u", "XDG_DATA_HOME": "/data"]) == "/data/skupper")
        #expect(resolve(1000, ["HOME": "/home/u", "SKUPPER_OUTPUT_PATH": ""]) == "/home/u/.local/share/skupper")
    }

    @Test(arguments: ["", "-a", "a-", "A", "a_b", "../x", "a/b", "a.b", String(repeating: "a", count: 64)])
    func badNamespaceNamesAreRefused(_ name: String) {
        #expect(throws: LocalError.self) { try NamespaceStore(namespace: name, home: DataHome(path: "/nowhere")) }
    }

    @Test func resourcesSurviveARoundTripWithUnknownFields() throws {
        let home = try TemporaryHome()
        let store = try home.store()
        let text = """
            apiVersion: skupper.io/v2alpha1
            kind: Listener
            metadata: {name: db, labels: {a: b}}
            spec: {routingKey: db, host: 127.0.0.1, port: 5432, futureField: [1, two]}
            """
        let resource = try #require(try Resource.parseAll(yaml: text).first)
        let path = try store.put(resource)
        #expect(path.hasSuffix("/input/resources/Listener-db.yaml"))
        #expect(try store.get(.listener, "db", in: .input) == resource)
        #expect(try store.list(Listener.self, in: .input).map(\.port) == [5432])
        #expect(try store.get(.listener, "other", in: .input) == nil)
        #expect(try store.delete(.listener, "db"))
        #expect(try store.delete(.listener, "db") == false)
        #expect(try store.list(.listener, in: .input).isEmpty)
    }

    @Test func aResourceInAnotherFileIsFoundReplacedAndRemoved() throws {
        let home = try TemporaryHome()
        let store = try home.store()
        let file = "\(store.layout.inputResources)/mine.yaml"
        let one = Site(name: "east").resource
        let two = Link(name: "west").resource
        try (one.yaml() + "---\n" + two.yaml()).write(toFile: file, atomically: true, encoding: .utf8)
        #expect(try store.load(.input).resources.map(\.key) == [one.key, two.key])
        var changed = Link(name: "west")
        changed.cost = 7
        try store.put(changed.resource)
        #expect(try store.load(.input).resources.count == 2)
        #expect(try store.get(Link.self, "west", in: .input)?.cost == 7)
        #expect(try store.delete(.site, "east"))
        #expect(!FileManager.default.fileExists(atPath: file))
    }

    @Test func aFileThatCannotBeReadIsAProblemAndNoMore() throws {
        let home = try TemporaryHome()
        let store = try home.store()
        try store.put(Site(name: "east").resource)
        try "a: [".write(toFile: "\(store.layout.inputResources)/bad.yaml", atomically: true, encoding: .utf8)
        let loaded = try store.load(.input)
        #expect(loaded.resources.map(\.name) == ["east"])
        #expect(loaded.problems.map(\.path) == ["\(store.layout.inputResources)/bad.yaml"])
    }

    @Test func severalResourcesAppearTogetherOrNotAtAll() throws {
        let home = try TemporaryHome()
        let store = try home.store()
        // A folder where the second file is to be makes its rename fail.
        let blocked = store.path(of: ResourceKey(kind: "Link", name: "b"))
        try FileManager.default.createDirectory(atPath: blocked + "/x", withIntermediateDirectories: true)
        #expect(throws: (any Error).self) {
            try store.putAll([Secret(name: "b").resource, Link(name: "b").resource])
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: store.layout.inputResources) == ["Link-b.yaml"])
    }

    @Test func secretsAreForTheirOwnerOnly() throws {
        let home = try TemporaryHome()
        let path = try home.store().put(Secret(name: "s").resource)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }

    @Test(arguments: ["../x", "a/b", ".hidden"]) func namesThatLeadElsewhereAreRefused(_ name: String) throws {
        let store = try TemporaryHome().store()
        #expect(throws: LocalError.self) { try store.put(Link(name: name).resource) }
    }

    @Test func aLockHasOneOwner() throws {
        let home = try TemporaryHome()
        let path = "\(home.path)/l"
        var lock = try FileLock.acquire(path)
        #expect(lock != nil)
        #expect(try FileLock.acquire(path) == nil)
        #expect(FileLock.owner(of: path) == getpid())
        lock = nil
        #expect(FileLock.owner(of: path) == nil)
        #expect(lock == nil)
    }

    @Test func whoLooksForTheOwnerKeepsNobodyFromTheLock() throws {
        let home = try TemporaryHome()
        let (path, stop, ended) = ("\(home.path)/l", "\(home.path)/stop", "\(home.path)/ended")
        Thread.detachNewThread {
            while !Files.exists(stop) { _ = FileLock.owner(of: path) }
            try? Files.write(ended, text: "")
        }
        var refused = 0
        for _ in 0..<300 where try FileLock.acquire(path) == nil { refused += 1 }
        try Files.write(stop, text: "")
        #expect(holds(within: 10) { Files.exists(ended) })
        #expect(refused == 0)
    }

    @Test func portsAreChosenFreeAndRemembered() throws {
        var book = PortBook()
        let access = PortBook.Purpose.access("west", role: "inter-router")
        #expect(try book.choose(access, reserved: [55671]) { $0 != 55672 } == 55673)
        // Remembered, even though it is in use now (by our own router).
        #expect(try book.choose(access, reserved: []) { _ in false } == 55673)
        #expect(try book.choose(access, fixed: 6000, reserved: []) { _ in false } == 6000)
        #expect(try book.choose(.health, reserved: []) { _ in true } == 9090)
        #expect(try book.choose(.grants, reserved: []) { _ in true } == 9091)
        #expect(throws: LocalError.self) { try book.choose(.management, reserved: []) { _ in false } }
        let home = try TemporaryHome()
        try book.save("\(home.path)/ports.yaml")
        #expect(PortBook.load("\(home.path)/ports.yaml") == book)
    }

    @Test func settingsThatCannotBeAreNamed() throws {
        var site = Site(name: "west")
        site.resource.setSpec(["port": "70000"], "settings")
        #expect { try SiteSettings(site) } throws: { "\($0)".contains("70000") && "\($0)".contains("port") }
        site.resource.setSpec(["port": "6000", "advertise-host": "west.example", "bind-host": "::"], "settings")
        let settings = try SiteSettings(site)
        #expect(settings.port == 6000)
        #expect(settings.advertiseHost == "west.example")
        #expect(settings.bindHost == "::")
    }

    @Test func theAdvertisedHostFollowsTheRule() {
        let host = HostAddresses(ipv4: ["192.0.2.7"], ipv6: ["2001:db8::7"], name: "h")
        #expect(host.advertised(setting: "a.example", bindHost: "10.0.0.1") == "a.example")
        #expect(host.advertised(setting: nil, bindHost: "10.0.0.1") == "10.0.0.1")
        #expect(host.advertised(setting: nil, bindHost: "0.0.0.0") == "192.0.2.7")
        #expect(HostAddresses(ipv4: [], ipv6: [], name: "h").advertised(setting: nil, bindHost: nil) == "127.0.0.1")
        #expect(
            host.certificateHosts(extra: ["a.example", ""])
                == ["127.0.0.1", "192.0.2.7", "2001:db8::7", "a.example", "h", "localhost"])
    }
}
