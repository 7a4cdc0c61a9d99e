import ControlIO
import Testing

@testable import KubernetesAPI

@Suite("Reflector") struct ReflectorTests {
    private let kind = APIResource("skupper.io", "v2alpha1", "listeners", "Listener")

    private func object(_ name: String, _ version: String, uid: String = "u") -> Document {
        [
            "apiVersion": "skupper.io/v2alpha1", "kind": "Listener",
            "metadata": [
                "namespace": "west", "name": .string(name), "uid": .string("\(uid)-\(name)"),
                "resourceVersion": .string(version),
            ],
        ]
    }

    private func page(_ version: String, _ items: [Document], next: String = "") -> Document {
        ["metadata": ["resourceVersion": .string(version), "continue": .string(next)], "items": .list(items)]
    }

    /// A reflector that has listed these objects at version 10 and watches.
    private func watching(_ items: [Document]) -> Reflector {
        var reflector = Reflector(kind)
        _ = reflector.start()
        _ = reflector.listed(page("10", items), random: 0)
        return reflector
    }

    private let expired = APIFault.answer(
        status: 410, reason: "Expired", message: "too old resource version", retryAfterSeconds: 0)
    private let down = APIFault.transport(
        .cannotConnect(host: "127.0.0.1", port: 6443, reason: "connection refused"), server: "https://127.0.0.1:6443")

    @Test("lists page by page, then delivers, says synced once and watches from the version of the list")
    func listThenWatch() {
        var reflector = Reflector(kind)
        #expect(reflector.start() == [.list(limit: 100, next: "")])
        #expect(reflector.start().isEmpty)
        let first = page("10", [object("b", "4")], next: "more")
        #expect(reflector.listed(first, random: 0) == [.list(limit: 100, next: "more")])
        #expect(
            reflector.listed(page("10", [object("a", "5")]), random: 7) == [
                .deliver(.changed(object("a", "5"))), .deliver(.changed(object("b", "4"))), .deliver(.synced),
                .watch(resourceVersion: "10", seconds: 307),
            ])
    }

    @Test("events change the copy and move the version on; a bookmark moves it too")
    func events() {
        var reflector = watching([object("a", "5")])
        #expect(reflector.happened(.changed(object("a", "11")), random: 0) == [.deliver(.changed(object("a", "11")))])
        #expect(reflector.happened(.deleted(object("a", "12")), random: 0) == [.deliver(.removed(object("a", "12")))])
        #expect(reflector.objects.isEmpty)
        #expect(reflector.happened(.deleted(object("a", "13")), random: 0).isEmpty)
        #expect(reflector.happened(.bookmark(resourceVersion: "40"), random: 0).isEmpty)
        #expect(
            reflector.watchEnded(nil, lasted: 300_000, random: 1) == [.watch(resourceVersion: "40", seconds: 301)])
    }

    @Test("items without kind get it, and the record of field owners is dropped")
    func completion() {
        var reflector = Reflector(.services)
        _ = reflector.start()
        let item: Document = ["metadata": ["name": "s", "resourceVersion": "3", "managedFields": [["manager": "x"]]]]
        _ = reflector.listed(page("3", [item]), random: 0)
        let kept = reflector.objects[ObjectKey(namespace: "", name: "s")]
        #expect(kept?["kind"] == "Service")
        #expect(kept?["apiVersion"] == "v1")
        #expect(kept?.value(at: "metadata.managedFields") == nil)
    }

    @Test("a version too old lists anew after a wait, and tells only what is different")
    func expiredWatch() {
        var reflector = watching([object("a", "5"), object("b", "6"), object("c", "7")])
        _ = reflector.happened(.bookmark(resourceVersion: "20"), random: 0)
        let effects = reflector.happened(.failure(expired), random: 0)
        #expect(effects == [.abandonWatch, .wait(milliseconds: 250)])
        #expect(reflector.waited(random: 0) == [.list(limit: 100, next: "")])
        let again = reflector.listed(
            page("90", [object("a", "5"), object("c", "70", uid: "new"), object("d", "80")]), random: 0)
        #expect(
            again == [
                .deliver(.removed(object("b", "6"))), .deliver(.removed(object("c", "7"))),
                .deliver(.changed(object("c", "70", uid: "new"))), .deliver(.changed(object("d", "80"))),
                .watch(resourceVersion: "90", seconds: 300),
            ])
    }

    @Test("versions that are too old again and again are waited for longer and longer")
    func expiredForever() {
        var reflector = watching([])
        var waits: [Int] = []
        for _ in 0..<9 {
            let effects = reflector.watchEnded(expired, lasted: 5, random: 0)
            for case .wait(let milliseconds) in effects { waits.append(milliseconds) }
            _ = reflector.waited(random: 0)
            _ = reflector.listed(page("1", []), random: 0)
        }
        #expect(waits == [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000])
    }

    @Test("a lost connection is reported once, watched again from where it was, and recovery is reported once")
    func lostConnection() {
        var reflector = watching([object("a", "5")])
        _ = reflector.happened(.changed(object("a", "11")), random: 0)
        #expect(
            reflector.watchEnded(down, lasted: 10_000, random: 3) == [
                .deliver(.troubled(down)), .wait(milliseconds: 253),
            ])
        #expect(reflector.waited(random: 0) == [.watch(resourceVersion: "11", seconds: 300)])
        #expect(reflector.watchEnded(down, lasted: 0, random: 0) == [.wait(milliseconds: 500)])
        #expect(reflector.waited(random: 0) == [.watch(resourceVersion: "11", seconds: 300)])
        #expect(
            reflector.happened(.changed(object("a", "12")), random: 0) == [
                .deliver(.recovered), .deliver(.changed(object("a", "12"))),
            ])
        // The failures were forgotten with the first event.
        #expect(reflector.watchEnded(down, lasted: 9, random: 0).contains(.wait(milliseconds: 250)))
    }

    @Test("a server that closes every watch at once is not asked in a tight loop")
    func closingServer() {
        var reflector = watching([])
        guard case .wait(let first)? = reflector.watchEnded(nil, lasted: 2, random: 0).last else {
            Issue.record("no wait")
            return
        }
        _ = reflector.waited(random: 0)
        guard case .wait(let second)? = reflector.watchEnded(nil, lasted: 2, random: 0).last else {
            Issue.record("no second wait")
            return
        }
        #expect(first == 250 && second == 500)
    }

    @Test("the pause that the server asks for is kept, up to a minute")
    func retryAfter() {
        var reflector = Reflector(kind)
        _ = reflector.start()
        let busy = APIFault.answer(status: 429, reason: "TooManyRequests", message: "", retryAfterSeconds: 9)
        #expect(reflector.listFailed(busy, random: 0).last == .wait(milliseconds: 9000))
        _ = reflector.waited(random: 0)
        let hours = APIFault.answer(status: 503, reason: "", message: "", retryAfterSeconds: Int.max)
        #expect(reflector.listFailed(hours, random: 0).last == .wait(milliseconds: 60_000))
    }

    @Test("a page too large to be read is asked for in halves, in the end one by one")
    func largePages() {
        var reflector = Reflector(kind)
        _ = reflector.start()
        var limits: [Int] = []
        var effects = reflector.listFailed(.transport(.tooLarge(limitBytes: 9), server: "s"), random: 0)
        while case .list(let limit, "")? = effects.first {
            limits.append(limit)
            effects = reflector.listFailed(.transport(.tooLarge(limitBytes: 9), server: "s"), random: 0)
        }
        #expect(limits == [50, 25, 12, 6, 3, 1])
        #expect(effects.last == .wait(milliseconds: 250))
    }

    @Test("more objects than are kept are refused as a whole, listed or watched")
    func tooMany() {
        var reflector = Reflector(kind, objectLimit: 2)
        _ = reflector.start()
        let three = reflector.listed(page("1", [object("a", "1"), object("b", "1"), object("c", "1")]), random: 0)
        #expect(three.last == .wait(milliseconds: 250))
        #expect(!three.contains(.deliver(.synced)))
        _ = reflector.waited(random: 0)
        _ = reflector.listed(page("1", [object("a", "1"), object("b", "1")]), random: 0)
        #expect(reflector.happened(.changed(object("c", "2")), random: 0).first == .abandonWatch)
        #expect(reflector.objects.count == 2)
    }

    @Test("late answers of an earlier state do nothing")
    func lateAnswers() {
        var reflector = watching([])
        #expect(reflector.listed(page("99", [object("x", "99")]), random: 0).isEmpty)
        #expect(reflector.listFailed(down, random: 0).isEmpty)
        #expect(reflector.waited(random: 0).isEmpty)
        _ = reflector.watchEnded(down, lasted: 0, random: 0)
        #expect(reflector.happened(.changed(object("x", "99")), random: 0).isEmpty)
        #expect(reflector.watchEnded(nil, lasted: 0, random: 0).isEmpty)
        #expect(reflector.resourceVersion == "10")
    }

    @Test("answers of any shape never trap, and always leave something to do next")
    func hostile() {
        let shapes: [Document] = [
            .null, .emptyMap, ["items": 3], ["items": []], ["items": [], "metadata": []],
            ["items": [1, "x", .null, ["metadata": 4]], "metadata": ["resourceVersion": "5"]],
            ["items": .null, "metadata": ["resourceVersion": 7]],
        ]
        for shape in shapes {
            var reflector = Reflector(kind)
            _ = reflector.start()
            #expect(!reflector.listed(shape, random: .max).isEmpty)
            var other = watching([])
            _ = other.happened(.changed(shape), random: .max)
            _ = other.happened(.deleted(shape), random: .max)
        }
    }
}
