/// Mobile address synchronisation (§3.6).
extension RoutingMachine {
    // MARK: - Own addresses

    mutating func addLocalAddress(_ key: String, _ info: AddressInfo) {
        guard RoutingBodyParser(selfID: id, limits: limits).isSynchronisedKey(key) else { return }
        // Producers come and go with every client; they wait for the tick. What decides reachability does not.
        let told = announced[key]
        if told == nil || told?.treatment != info.treatment || told?.meshID != info.meshID { pendingIsUrgent = true }
        pendingAddresses[key] = .some(info)
    }

    mutating func removeLocalAddress(_ key: String) {
        guard announced[key] != nil || pendingAddresses[key] != nil else { return }
        pendingAddresses[key] = .some(nil)
        pendingIsUrgent = true
    }

    /// Sends what changed since the last differential update, if it is time.
    mutating func announceAddresses(now: Int64) {
        guard !pendingAddresses.isEmpty else { return }
        let isTick = now - lastMobileUpdate >= timers.helloIntervalMilliseconds
        guard isTick || (pendingIsUrgent && now >= lastMobileUpdate + timers.coalescingMilliseconds) else { return }
        var added: [(key: String, info: AddressInfo)] = []
        var removed: [String] = []
        for (key, change) in pendingAddresses.sorted(by: { precedesInOctetOrder($0.key, $1.key) }) {
            if let info = change {
                if announced[key] != info { added.append((key, info)) }
                announced[key] = info
            } else if announced.removeValue(forKey: key) != nil {
                removed.append(key)
            }
        }
        pendingAddresses = [:]
        pendingIsUrgent = false
        guard !added.isEmpty || !removed.isEmpty else { return }
        lastMobileUpdate = now
        ownMobileSequence += 1
        if !slots.isEmpty {
            effects.append(
                .flood(.differentialUpdate(id: id, sequence: ownMobileSequence, added: added, removed: removed)))
        }
        // After the update, or every peer would ask for what it is about to receive.
        advertisementWanted = true
    }

    /// Everything announced so far; what is pending follows in the next differential update.
    func absoluteUpdate(to router: String) -> RoutingMessage {
        let addresses = announced.sorted { precedesInOctetOrder($0.key, $1.key) }
        return .absoluteUpdate(
            id: id, to: router, sequence: ownMobileSequence, addresses: addresses.map { ($0.key, $0.value) })
    }

    // MARK: - Addresses of others

    mutating func receiveAbsolute(from router: String, sequence: Int64, exist: DescriptorList, now: Int64) {
        guard var remote = remotes[router] else { return }
        noteIgnored(exist, of: router, now: now)
        let named = Set(exist.usable.map(\.key))
        let kept = remote.addresses.filter { named.contains($0.key) }
        if kept.count != remote.addresses.count { tablesChanged = true }
        remoteAddressCount -= remote.addresses.count - kept.count
        remote.addresses = kept
        remote.isTruncated = false
        adopt(sequence, &remote)
        remotes[router] = remote
        store(exist, for: router, now: now)
    }

    mutating func receiveDifferential(
        from router: String, sequence: Int64, added: DescriptorList, removed: DescriptorList, now: Int64
    ) {
        guard var remote = remotes[router], sequence != remote.mobileSequence else { return }
        guard sequence - 1 == remote.mobileSequence else {
            // Something was missed. While an answer to an earlier request is due, one more request would be wasted.
            let asked = now - remote.mobileRequest.lastSent < 2 * timers.coalescingMilliseconds
            remote.mobileRequest.wantAfresh(notBefore: asked ? now + 2 * timers.coalescingMilliseconds : longAgo)
            remote.advertisedMobile = max(remote.advertisedMobile, sequence)
            remotes[router] = remote
            return
        }
        adopt(sequence, &remote)
        remotes[router] = remote
        noteIgnored(added, of: router, now: now)
        store(added, for: router, now: now)
        for descriptor in removed.usable
        where remotes[router]?.addresses.removeValue(forKey: descriptor.key) != nil {
            remoteAddressCount -= 1
            tablesChanged = true
        }
    }

    private func adopt(_ sequence: Int64, _ remote: inout RemoteRouter) {
        remote.mobileSequence = sequence
        if sequence >= remote.advertisedMobile {
            remote.advertisedMobile = sequence
            remote.mobileRequest.isWanted = false
        }
    }

    private mutating func store(_ list: DescriptorList, for router: String, now: Int64) {
        guard var addresses = remotes[router]?.addresses else { return }
        remotes[router]?.addresses = [:]
        var refused = false
        for descriptor in list.usable {
            if let held = addresses[descriptor.key] {
                guard held != descriptor.info else { continue }
            } else if remoteAddressCount < limits.remoteAddresses, addresses.count < limits.addressesOfOneRouter {
                remoteAddressCount += 1
            } else {
                refused = true
                continue
            }
            addresses[descriptor.key] = descriptor.info
            tablesChanged = true
        }
        remotes[router]?.addresses = addresses
        if refused {
            remotes[router]?.isTruncated = true
            reject(.addressStoreFull, subject: router, now: now)
        }
    }

    private mutating func noteIgnored(_ list: DescriptorList, of router: String, now: Int64) {
        guard list.ignored > 0 else { return }
        let isFull = list.usable.count >= limits.remoteAddresses
        reject(isFull ? .addressStoreFull : .invalidField("address descriptor"), subject: router, now: now)
    }

    /// Removes all addresses of a router that cannot be reached or was restarted.
    mutating func dropAddresses(of router: String) {
        guard let remote = remotes[router] else { return }
        if !remote.addresses.isEmpty { tablesChanged = true }
        remoteAddressCount -= remote.addresses.count
        remotes[router]?.addresses = [:]
        remotes[router]?.mobileSequence = 0
        remotes[router]?.isTruncated = false
    }

    /// At a tick: asks routers whose addresses did not fit once more when a tenth of the store has become free.
    mutating func reloadTruncated() {
        guard remoteAddressCount < limits.remoteAddresses / 10 * 9 else { return }
        // One that has more than a router may would only be cut short again.
        let own = limits.addressesOfOneRouter
        for router in sortedRemotes
        where remotes[router]?.isTruncated == true && (remotes[router]?.addresses.count ?? 0) < own {
            remotes[router]?.isTruncated = false
            remotes[router]?.mobileSequence = 0
            remotes[router]?.mobileRequest.wantAfresh()
            noteWish(of: router)
        }
    }
}
