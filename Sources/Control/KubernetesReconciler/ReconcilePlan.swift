import ControlIO
import SiteModel

/// What is to be done so that a namespace becomes what its resources ask for. Carried out in the order of the fields.
package struct ReconcilePlan: Hashable, Sendable {
    /// An object to write by server-side apply.
    package struct Apply: Hashable, Sendable {
        /// The whole of what this field manager wants.
        package let object: Document
        /// Field manager: parts of objects that others own have a manager of their own.
        package let manager: String
    }

    /// A certificate to make, kept in the Secret of the same name.
    package struct CertificateOrder: Hashable, Sendable {
        package let name: String
        package let commonName: String
        package let hosts: [String]
        /// The Secret with the CA; nil for a CA itself.
        package let issuer: Secret?
        /// For a CA whose time is nearly over: the Secret with it as it is.
        package let previous: Secret?
        /// The Secret without its data; the maker puts `tls.crt`, `tls.key` and `ca.crt` in.
        package let secret: Document
    }

    /// Objects to create or change.
    package var applies: [Apply] = []
    /// Certificates to make.
    package var orders: [CertificateOrder] = []
    /// Objects to delete.
    package var deletes: [Resource] = []
    /// Resources with the status they are to have.
    package var statuses: [Resource] = []
    /// Tokens to redeem. They stay in the plan until their status says that they were, or never will be.
    package var redemptions: [AccessToken] = []
    /// Endpoints that tokens of this namespace lead to, and the Secret of the CA that signs for them.
    package var linkEndpoints: [Endpoint] = []
    package var issuerName = ""
    /// For the controller's log.
    package var notes: [String] = []

    /// The name under which the controller applies.
    package static let manager = "skupper-controller"
    /// The name under which it annotates Secrets that others own.
    package static let annotator = "skupper-controller-tls"

    /// Nothing to write. (Redemptions are not writes of the plan.)
    package var isEmpty: Bool { applies.isEmpty && orders.isEmpty && deletes.isEmpty && statuses.isEmpty }
}

/// Whether an object is as wanted.
enum ObjectDifference {
    /// The wanted object with its digest among the annotations.
    static func marked(_ wanted: Document) -> Document {
        var result = wanted
        let digest = Digest.text(JSON.emit(wanted, pretty: false, sortedKeys: true))
        result.set(.string(digest), at: ["metadata", "annotations", Marks.digest])
        return result
    }

    /// The API server fills in defaults, so what exists may have more than is wanted, never less; and the digest
    /// tells when something that was wanted earlier no longer is.
    static func isAsWanted(_ existing: Document, _ marked: Document) -> Bool { covers(existing, marked) }

    private static func covers(_ existing: Document, _ wanted: Document) -> Bool {
        switch (existing, wanted) {
        case (.map(let left), .map(let right)):
            return right.entries.allSatisfy { key, value in
                guard let present = left[key] else { return isZero(value) }
                // The API server writes quantities its own way: 1000m as 1.
                if key == "requests" || key == "limits" { return sameQuantities(present, value) }
                return covers(present, value)
            }
        case (.list(let left), .list(let right)):
            return left.count == right.count && zip(left, right).allSatisfy { covers($0, $1) }
        case (.int(let number), .double(let value)), (.double(let value), .int(let number)):
            return Double(number) == value
        default: return existing == wanted
        }
    }

    private static func sameQuantities(_ existing: Document, _ wanted: Document) -> Bool {
        let (left, right) = (existing.mapValue?.entries ?? [], wanted.mapValue?.entries ?? [])
        return left.count == right.count
            && right.allSatisfy { key, value in
                guard let present = existing[key]?.scalarText, let text = value.scalarText else { return false }
                return present == text
                    || RouterSizing.quantity(present).map { $0 == RouterSizing.quantity(text) } ?? false
            }
    }

    /// What the API server may leave out.
    private static func isZero(_ value: Document) -> Bool {
        switch value {
        case .null, .bool(false), .int(0), .string(""): true
        case .list(let items): items.isEmpty
        case .map(let map): map.isEmpty
        default: false
        }
    }
}

/// A short name for a text: FNV-1a, 64 bits. It finds changes; it protects nothing.
enum Digest {
    static func text(_ text: String) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        let hex = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - hex.count) + hex
    }
}
