import AMQPCodec

/// What edge routers and interiors tell each other about themselves, as octets (router-protocol sheet, sections 7.3 and
/// 7.4). Who is told what, and when, is not known here.
enum EdgeMessages {
    /// An interior tells an edge router whether an address of its producers has a consumer elsewhere.
    /// - Parameters:
    ///   - key: hash key of the address, such as `Mecho`.
    ///   - own: the interior's id as it stands in router annotations.
    static func reachability(_ key: String, _ isReachable: Bool, own: String) -> [UInt8] {
        var encoder = AMQPEncoder()
        RouterAnnotations(ingress: own, trace: [own]).encode(into: &encoder)
        encoder.described(0x70)
        encoder.list(1) { $0.bool(false) }
        encoder.described(0x77)
        encoder.list(2) { list in
            list.string(key)
            list.bool(isReachable)
        }
        return encoder.bytes
    }

    /// What stands in the body of such a message; nil if it is none.
    static func reachability(in body: AMQPValue?) -> (key: String, isReachable: Bool)? {
        guard case .list(let items)? = body, items.count >= 2, let key = items[0].stringValue,
            case .bool(let isReachable) = items[1]
        else { return nil }
        return (key, isReachable)
    }

    /// An edge router tells an interior the name of its mesh.
    static func meshName(_ id: String) -> [UInt8] {
        serviceMessage { encoder in
            encoder.map(1) { map in
                map.symbol("meshid")
                map.string(id)
            }
        }
    }

    /// What stands in the application properties of such a message; nil if it is none.
    static func meshName(in properties: [MapEntry]) -> String? {
        guard let id = properties.value(for: "meshid")?.stringValue, id.utf8.count == MeshElection.idCount else {
            return nil
        }
        return id
    }

    /// An edge router bids for the name of its mesh.
    static func bid(_ bid: MeshElection.Bid) -> [UInt8] {
        serviceMessage { encoder in
            encoder.map(2) { map in
                map.symbol("ordinal")
                map.long(bid.ordinal)
                map.symbol("id")
                map.string(bid.id)
            }
        }
    }

    /// What stands in the application properties of such a message; nil if it is none.
    static func bid(in properties: [MapEntry]) -> MeshElection.Bid? {
        guard let ordinal = properties.value(for: "ordinal")?.intValue, ordinal > Int64.min,
            let id = properties.value(for: "id")?.stringValue, id.utf8.count == MeshElection.idCount
        else { return nil }
        return MeshElection.Bid(ordinal: ordinal, id: id)
    }

    /// A message of an edge router about itself: annotations and application properties.
    private static func serviceMessage(_ properties: (inout AMQPEncoder) -> Void) -> [UInt8] {
        var encoder = AMQPEncoder()
        RouterAnnotations().encode(into: &encoder)
        encoder.described(0x74)
        properties(&encoder)
        return encoder.bytes
    }
}
