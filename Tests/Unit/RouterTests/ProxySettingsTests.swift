import Testing

@testable import Router

/// The request to an HTTP proxy and what its answers mean.
@Suite struct ProxySettingsTests {
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ])
    func base64(plain: String, coded: String) {
        #expect(ProxySettings.base64(Array(plain.utf8)) == coded)
    }

    @Test func anAnswerCountsWhenItIsThere() {
        let whole = Array("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n".utf8)
        for count in 0..<whole.count {
            #expect(ProxySettings.judge(Array(whole[..<count])) == .incomplete)
        }
        #expect(ProxySettings.judge(whole) == .tunnel)
    }

    @Test func refusalsAreTold() {
        func judge(_ text: String) -> ProxySettings.Answer { ProxySettings.judge(Array(text.utf8)) }
        #expect(
            judge("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                == .refused("407 Proxy Authentication Required"))
        #expect(judge("SSH-2.0-x\r\n\r\n") == .refused("it does not speak HTTP: SSH-2.0-x"))
        #expect(judge("HTTP/1.1 200 OK\r\n\r\nmore") == .refused("octets after its answer"))
        let endless = [UInt8](repeating: 97, count: ProxySettings.answerMaximum)
        #expect(ProxySettings.judge(endless) == .refused("its answer has no end"))
    }
}
