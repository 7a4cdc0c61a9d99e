import RouterConfig

/// The control thread's part of automatic links: entities in, attaches and detaches out.
extension Core {
    func createAutoLink(_ entity: Entity) {
        autoLinkNumbers[entity.identity] = takeConfigurationNumber()
        let rule = AutoLinks.Rule(
            id: entity.identity, direction: entity[string: "direction"] == "out" ? .outgoing : .incoming,
            address: entity[string: "address"], externalAddress: entity[string: "externalAddress"],
            container: entity[string: "containerId"], connection: entity[string: "connection"])
        perform(autoLinks.add(rule))
    }

    func deleteAutoLink(_ entity: Entity) {
        autoLinkNumbers[entity.identity] = nil
        perform(autoLinks.remove(entity.identity))
    }

    /// Numbers of address rules and automatic links, in the order in which they were made, as skrouterd counts them.
    func takeConfigurationNumber() -> Int {
        configurationCount += 1
        return configurationCount
    }

    /// The identity under which clients know an entity.
    func shownIdentity(_ entity: Entity) -> String {
        guard entity.type == "router.config.autoLink" else { return entity.identity }
        return autoLinkNumbers[entity.identity].map(String.init) ?? entity.identity
    }

    func perform(_ effects: [AutoLinks.Effect]) {
        for effect in effects {
            switch effect {
            case .attach(let rule, let ref, let number):
                let worker = workers[ref.worker]
                worker.post { worker.connections[ref.id]?.attachAutoLink(rule, number: number) }
            case .detach(let ref, let number):
                linkDetached(link: number)
                let worker = workers[ref.worker]
                worker.post { worker.connections[ref.id]?.detachNumbered(number) }
            case .log(let text):
                Log.write(.core, .info, text)
            }
        }
    }

    /// The peer has given an automatic link a terminus.
    func autoLinkAttached(_ number: UInt64, identity: String) { autoLinks.attached(number, identity: identity) }

    /// The peer has refused or ended an automatic link, or its session.
    func autoLinkDetached(_ number: UInt64, error: String?) {
        perform(autoLinks.detached(number, error: error, now: now))
    }
}
