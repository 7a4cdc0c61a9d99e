import Glibc
import Testing

@testable import Router

@Suite struct AddressFamilyTests {
    private func address(_ literal: String) throws -> SocketAddress {
        try #require(SocketAddress(literal: literal, port: 5672))
    }

    @Test func aFamilyAdmitsItsOwnAddressesOnly() throws {
        let (four, six) = (try address("192.0.2.1"), try address("2001:db8::1"))
        #expect(AddressFamily(name: nil).admits(four) && AddressFamily(name: nil).admits(six))
        #expect(AddressFamily(name: "IPv4").admits(four) && !AddressFamily(name: "IPv4").admits(six))
        #expect(!AddressFamily(name: "IPv6").admits(four) && AddressFamily(name: "IPv6").admits(six))
    }

    @Test func ofANamesAddressesIPv4IsBoundFirst() throws {
        let (four, other, six) = (try address("192.0.2.1"), try address("192.0.2.2"), try address("2001:db8::1"))
        func bound(_ found: [SocketAddress], _ family: AddressFamily = .any) -> String? {
            family.bindAddress(host: "name", port: 80) { $0 == "name" ? found : [] }?.text
        }
        #expect(bound([six, four, other]) == "192.0.2.1:80")
        #expect(bound([six]) == "[2001:db8::1]:80")
        #expect(bound([six, four], .ipv6) == "[2001:db8::1]:80")
        #expect(bound([six], .ipv4) == nil)
        #expect(bound([]) == nil)
    }

    @Test func literalsAndWildcardsFollowTheFamily() throws {
        func bound(_ host: String, _ family: AddressFamily) -> String? {
            family.bindAddress(host: host, port: 80) { _ in [] }?.text
        }
        #expect(bound("127.0.0.1", .any) == "127.0.0.1:80")
        #expect(bound("127.0.0.1", .ipv6) == nil)
        #expect(bound("::1", .ipv6) == "[::1]:80")
        #expect(bound("::1", .ipv4) == nil)
        #expect(bound("", .ipv4) == "0.0.0.0:80")
        #expect(bound("*", .ipv6) == "[::]:80")
    }
}
