/// Collects the octets of an answer up to a limit, as the context of ``collectResponse(_:_:_:_:)``.
package final class ResponseCollector {
    /// The most it takes, octets.
    package let limit: Int
    package private(set) var bytes: [UInt8] = []
    /// The answer went on past the limit.
    package private(set) var isTooLarge = false

    package init(limit: Int) { self.limit = limit }

    fileprivate func take(_ octets: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count + octets.count <= limit else {
            isTooLarge = true
            return false
        }
        bytes.append(contentsOf: octets)
        return true
    }
}

/// libcurl's callback for received octets, which go to the ``ResponseCollector`` behind `context`; taking fewer than
/// given makes libcurl end the exchange.
package func collectResponse(
    _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let data, let context else { return 0 }
    let collector = Unmanaged<ResponseCollector>.fromOpaque(context).takeUnretainedValue()
    let length = size * count
    return collector.take(UnsafeRawBufferPointer(start: data, count: length)) ? length : 0
}
