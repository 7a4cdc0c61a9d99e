import COpenSSL
import Testing

@testable import Router

@Suite struct CertificateUserNamesTests {
    /// A certificate, unsigned, with these entries in its subject.
    private final class Certificate {
        let pointer: OpaquePointer

        init(_ entries: [(String, [UInt8])], type: Int32 = V_ASN1_UTF8STRING) throws {
            pointer = try #require(X509_new())
            let subject = X509_get_subject_name(pointer)
            for (name, value) in entries {
                let status = X509_NAME_add_entry_by_txt(subject, name, type, value, Int32(value.count), -1, 0)
                try #require(status == 1)
            }
        }

        convenience init(_ entries: [(String, String)]) throws {
            try self.init(entries.map { ($0.0, Array($0.1.utf8)) })
        }

        deinit { X509_free(pointer) }
    }

    private func name(_ format: String, _ certificate: Certificate, names: [String: String] = [:]) throws -> String? {
        try #require(CertificateUserNames(format: format, names: names)).name(of: certificate.pointer)
    }

    @Test(arguments: ["", "c", "csloun1", "5", "nnnnnnn", "n2n"])
    func formats(_ format: String) { #expect(CertificateUserNames(format: format) != nil) }

    @Test(arguments: ["x", "1x", "N", "12", "11", "csloun12", "nnnnnnnn", "n o", "é"])
    func noFormats(_ format: String) { #expect(CertificateUserNames(format: format) == nil) }

    @Test func partsStandInTheOrderOfTheFormat() throws {
        let certificate = try Certificate([("C", "NZ"), ("CN", "Ann é"), ("CN", "second"), ("OU", "a;b")])
        #expect(try name("nuc", certificate) == "Ann é;a;b;NZ")
        // Without organization and state.
        #expect(try name("osc", certificate) == "NZ")
        #expect(try name("os", certificate) == nil)
        #expect(try name("", certificate) == nil)
    }

    @Test func mappedNamesStandInstead() throws {
        let certificate = try Certificate([("C", "NZ"), ("CN", "ann")])
        #expect(try name("cn", certificate, names: ["NZ;ann": "Ann", "ann": "no"]) == "Ann")
        #expect(try name("cn", certificate, names: ["NZ;ann": "", "NZ": "no"]) == "NZ;ann")
    }

    /// Cut at the octet it would be somebody else's name.
    @Test func aZeroOctetMakesNoName() throws {
        let certificate = try Certificate([("O", Array("x".utf8)), ("CN", Array("root\0.example".utf8))])
        #expect(try name("n", certificate) == nil)
        #expect(try name("on", certificate) == nil)
        #expect(try name("o", certificate) == "x")
    }

    @Test func otherKindsOfTextAreUnderstood() throws {
        let wide: [UInt8] = [0, 0x61, 0, 0xE9]
        #expect(try name("n", Certificate([("CN", wide)], type: V_ASN1_BMPSTRING)) == "aé")
        #expect(try name("n", Certificate([("CN", [0x61, 0xE9])], type: V_ASN1_T61STRING)) == "aé")
    }

    @Test func tooLongANameIsNone() throws {
        let organization = try Certificate([("O", String(repeating: "o", count: 2000))])
        #expect(try name("o", organization)?.utf8.count == 2000)
        #expect(try name("oo", organization) == nil)
    }
}
