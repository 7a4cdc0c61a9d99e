import ControlIO
import Glibc
import SiteTrust
import Testing

/// Certificates after sheet §3.7, checked by this library and by the `openssl` program.
@Suite struct TrustCertificateTests {
    private static let now: Int64 = 1_790_000_000

    @Test func leafHasEverythingOfTheTable() throws {
        let authority = try CertificateAuthority.makeAuthority(commonName: "west site CA", nowUnix: Self.now)
        let leaf = try CertificateAuthority.issue(
            commonName: "west", hosts: [" 192.0.2.20 ", "west.example", "2001:db8::1", "west.example", ""],
            by: authority, nowUnix: Self.now)
        #expect(authority.keyPEM.hasPrefix("-----BEGIN RSA PRIVATE KEY-----\n"))
        #expect(leaf.keyPEM.hasPrefix("-----BEGIN RSA PRIVATE KEY-----\n"))
        let content = try CertificateInspection(pem: leaf.certificatePEM)
        #expect(content.commonName == "west")
        #expect(content.issuerCommonName == "west site CA")
        #expect(content.notBefore == Self.now)
        #expect(content.notAfter == Self.now + 1825 * 86_400)
        #expect(content.dnsNames == ["192.0.2.20", "west.example", "2001:db8::1"])
        #expect(content.ipAddresses == ["192.0.2.20", "2001:db8:0:0:0:0:0:1"])
        #expect(content.serial.count == 32)
        #expect(content.fingerprint.count == 64)
        #expect(!content.isAuthority)
        #expect(try CertificateInspection(pem: authority.certificatePEM).isAuthority)
        #expect(try CertificateInspection.isSigned(leaf.certificatePEM, by: authority.certificatePEM))
        #expect(try CertificateInspection.matches(leaf))
        let crossed = KeyedCertificate(certificatePEM: leaf.certificatePEM, keyPEM: authority.keyPEM)
        #expect(try !CertificateInspection.matches(crossed))
    }

    @Test func opensslProgramAgrees() throws {
        let folder = try ControlTestFolder()
        let authority = try CertificateAuthority.makeAuthority(commonName: "west site CA", nowUnix: Self.now)
        let leaf = try CertificateAuthority.issue(
            commonName: "west", hosts: ["192.0.2.20"], by: authority, nowUnix: Self.now)
        try Files.write(folder.path + "/ca", text: authority.certificatePEM)
        try Files.write(folder.path + "/leaf", text: leaf.certificatePEM)
        let verify = "openssl verify -x509_strict -attime \(Self.now + 10) -CAfile \(folder.path)/ca"
        for purpose in ["sslserver", "sslclient"] {
            #expect(system("\(verify) -purpose \(purpose) \(folder.path)/leaf >/dev/null 2>&1") == 0)
        }
        #expect(system("\(verify) -verify_ip 192.0.2.20 \(folder.path)/leaf >/dev/null 2>&1") == 0)
        #expect(system("\(verify) -verify_ip 192.0.2.21 \(folder.path)/leaf >/dev/null 2>&1") != 0)
        #expect(system("openssl x509 -in \(folder.path)/leaf -noout -text > \(folder.path)/text") == 0)
        let text = try Files.readText(folder.path + "/text")
        for part in [
            "Public-Key: (2048 bit)", "Digital Signature, Key Encipherment\n",
            "TLS Web Server Authentication, TLS Web Client Authentication", "DNS:192.0.2.20, IP Address:192.0.2.20",
            "CA:FALSE", "Subject: CN = west\n", "sha256WithRSAEncryption",
        ] {
            #expect(text.contains(part), "\(part)")
        }
        #expect(system("openssl x509 -in \(folder.path)/ca -noout -text > \(folder.path)/text") == 0)
        let caText = try Files.readText(folder.path + "/text")
        #expect(caText.contains("Digital Signature, Key Encipherment, Certificate Sign"))
        #expect(caText.contains("CA:TRUE"))
    }

    /// What was signed before a renewal is valid after it, and the other way round, for whoever has either CA.
    @Test func aRenewedCAKeepsItsKey() throws {
        let old = try CertificateAuthority.makeAuthority(commonName: "west site CA", nowUnix: Self.now)
        let later = Self.now + 4 * 365 * 86_400
        let new = try CertificateAuthority.makeAuthority(commonName: "west site CA", nowUnix: later, renewing: old)
        #expect(try CertificateInspection(pem: new.certificatePEM).notAfter == later + 1825 * 86_400)
        #expect(new.keyPEM == old.keyPEM)
        let folder = try ControlTestFolder()
        let authorities = ["old": old, "new": new]
        for (name, authority) in authorities {
            let leaf = try CertificateAuthority.issue(
                commonName: "west", hosts: ["w"], by: authority, nowUnix: name == "old" ? Self.now : later)
            try Files.write(folder.path + "/ca-\(name)", text: authority.certificatePEM)
            try Files.write(folder.path + "/leaf-\(name)", text: leaf.certificatePEM)
        }
        for (leaf, authority) in [("old", "new"), ("new", "old"), ("new", "new")] {
            let verify = "openssl verify -x509_strict -attime \(later + 10) -CAfile \(folder.path)/ca-\(authority)"
            #expect(system("\(verify) \(folder.path)/leaf-\(leaf) >/dev/null 2>&1") == 0, "\(leaf) by \(authority)")
        }
        // Not for another name, not when its time is over, and not if key and certificate do not fit.
        let end = Self.now + 6 * 365 * 86_400
        let crossed = KeyedCertificate(
            certificatePEM: old.certificatePEM,
            keyPEM: try CertificateAuthority.makeAuthority(commonName: "x", nowUnix: Self.now).keyPEM)
        let name = "west site CA"
        for (name, previous, now) in [("east", old, later), (name, old, end), (name, crossed, later)] {
            let made = try CertificateAuthority.makeAuthority(commonName: name, nowUnix: now, renewing: previous)
            #expect(made.keyPEM != previous.keyPEM)
        }
    }

    @Test func anotherCAOfTheSameNameDidNotSign() throws {
        let first = try CertificateAuthority.makeAuthority(commonName: "same", nowUnix: Self.now)
        let second = try CertificateAuthority.makeAuthority(commonName: "same", nowUnix: Self.now)
        let leaf = try CertificateAuthority.issue(commonName: "x", hosts: [], by: first, nowUnix: Self.now)
        #expect(try !CertificateInspection.isSigned(leaf.certificatePEM, by: second.certificatePEM))
        let firstContent = try CertificateInspection(pem: first.certificatePEM)
        let secondContent = try CertificateInspection(pem: second.certificatePEM)
        #expect(firstContent.serial != secondContent.serial)
        #expect(firstContent.fingerprint != secondContent.fingerprint)
    }

    @Test func requestsThatCannotBeMet() throws {
        let authority = try CertificateAuthority.makeAuthority(commonName: "ca", nowUnix: Self.now)
        let leaf = try CertificateAuthority.issue(commonName: "x", hosts: [], by: authority, nowUnix: Self.now)
        func fault(
            _ issuer: KeyedCertificate, name: String = "y", hosts: [String] = [], now: Int64 = Self.now
        ) -> TrustError? {
            do {
                _ = try CertificateAuthority.issue(commonName: name, hosts: hosts, by: issuer, nowUnix: now)
                return nil
            } catch {
                return error
            }
        }
        guard case .unusableIssuer = fault(leaf) else {
            Issue.record("a leaf was accepted as issuer")
            return
        }
        guard case .unusableIssuer = fault(authority, now: Self.now + 1826 * 86_400) else {
            Issue.record("an expired CA was accepted as issuer")
            return
        }
        #expect(
            fault(KeyedCertificate(certificatePEM: authority.certificatePEM, keyPEM: leaf.keyPEM)) == .keyMismatch)
        guard case .unreadable(what: "certificate", _) = fault(KeyedCertificate(certificatePEM: "x", keyPEM: "y")),
            case .unreadable(what: "private key", _) = fault(
                KeyedCertificate(certificatePEM: authority.certificatePEM, keyPEM: "y"))
        else {
            Issue.record("text that is no PEM was accepted")
            return
        }
        for name in ["", String(repeating: "x", count: 65)] {
            guard case .invalidRequest = fault(authority, name: name) else {
                Issue.record("the common name \"\(name)\" was accepted")
                return
            }
        }
        guard case .invalidRequest = fault(authority, hosts: ["a b"]) else {
            Issue.record("a host with a blank was accepted")
            return
        }
        #expect(fault(authority, hosts: ["a,DNS:b"]) == nil, "commas have no meaning in names")
    }

    @Test func renewalIsDueAfterTwoThirds() throws {
        let authority = try CertificateAuthority.makeAuthority(commonName: "ca", nowUnix: Self.now)
        let leaf = try CertificateAuthority.issue(
            commonName: "x", hosts: [], by: authority, nowUnix: Self.now, validitySeconds: 300)
        let content = try CertificateInspection(pem: leaf.certificatePEM)
        #expect(!content.shouldRenew(atUnix: Self.now + 199))
        #expect(content.shouldRenew(atUnix: Self.now + 200))
        #expect(content.isValid(atUnix: Self.now + 300))
        #expect(!content.isValid(atUnix: Self.now + 301))
        #expect(!content.isValid(atUnix: Self.now - 1))
    }

    @Test func randomValuesHaveTheirForm() throws {
        var seen: Set<String> = []
        var letters: Set<Character> = []
        for _ in 0..<200 {
            let code = try RandomValues.code()
            #expect(code.count == 24)
            #expect(
                code.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) })
            letters.formUnion(code)
            seen.insert(code)
            let uuid = try RandomValues.uuid4()
            #expect(uuid.split(separator: "-").map(\.count) == [8, 4, 4, 4, 12])
            #expect(uuid.dropFirst(14).first == "4")
            #expect("89ab".contains(uuid.dropFirst(19).first ?? " "))
            seen.insert(uuid)
        }
        #expect(seen.count == 400)
        #expect(letters.count == 62)
    }

    @Test func constantTimeComparison() {
        #expect(ConstantTime.equal([], []))
        #expect(ConstantTime.equal([1, 2, 3], [1, 2, 3]))
        #expect(!ConstantTime.equal([1, 2, 3], [1, 2, 4]))
        #expect(!ConstantTime.equal([1, 2, 3], [1, 2]))
    }
}
