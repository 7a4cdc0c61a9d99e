import ControlIO
import SiteModel
import Testing

/// The aggregation rule of sheet §1.2 for every kind.
@Suite struct ModelConditionTests {
    private static let required: [(ResourceKind, [ConditionType])] = [
        (.site, [.configured, .running]), (.link, [.configured, .operational]), (.listener, [.configured, .matched]),
        (.connector, [.configured, .matched]), (.multiKeyListener, [.configured, .operational]),
        (.accessGrant, [.processed, .resolved]), (.accessToken, [.redeemed]),
        (.routerAccess, [.configured, .resolved]),
        (.securedAccess, [.configured, .resolved]), (.attachedConnector, [.configured]),
        (.attachedConnectorBinding, [.configured, .matched]),
    ]

    @Test(arguments: required)
    func eachConditionDecidesInTurn(kind: ResourceKind, types: [ConditionType]) {
        var resource = Resource(kind: kind, name: "x")
        #expect(resource.requiredConditions == types)
        for type in types {
            #expect(resource.aggregatedStatus() == StatusSummary(status: "Pending", message: "Not \(type.rawValue)"))
            resource.setCondition(type, .error("broken"), nowUnix: 1)
            #expect(resource.aggregatedStatus() == StatusSummary(status: "Error", message: "broken"))
            #expect(resource.statusWord == "Error")
            #expect(resource.statusMessage == "broken")
            resource.setCondition(type, .pending("wait"), nowUnix: 2)
            #expect(resource.aggregatedStatus() == StatusSummary(status: "Pending", message: "wait"))
            resource.setCondition(type, .ready, nowUnix: 3)
        }
        #expect(resource.aggregatedStatus() == StatusSummary(status: "Ready", message: "OK"))
        #expect(resource.statusWord == "Ready")
        #expect(resource.statusMessage == "OK")
        let hasAggregate = kind != .multiKeyListener && kind != .accessToken
        #expect((resource.condition(.ready) != nil) == hasAggregate)
        if hasAggregate { #expect(resource.condition(.ready)?.isTrue == true) }
    }

    @Test func anEarlierConditionHidesALaterOne() {
        var link = Resource(kind: .link, name: "x")
        link.setCondition(.operational, .pending("Not operational"), nowUnix: 1)
        #expect(link.statusMessage == "Not Configured")
        link.setCondition(.configured, .error("TLS credentials secret \"s\" not found"), nowUnix: 1)
        #expect(link.statusWord == "Error")
        link.setCondition(.configured, .ready, nowUnix: 1)
        #expect(link.statusMessage == "Not operational")
        link.removeCondition(.operational, nowUnix: 1)
        #expect(link.statusMessage == "Not Operational")
        #expect(link.condition(.ready)?.message == "Not Operational")
    }

    @Test(arguments: [("", false), ("none", false), ("default", true), ("loadbalancer", true)])
    func aSiteNeedsResolvedOnlyWithLinkAccess(linkAccess: String, needs: Bool) {
        var site = Site(name: "s")
        site.linkAccess = linkAccess
        site.resource.setCondition(.configured, .ready, nowUnix: 1)
        site.resource.setCondition(.running, .ready, nowUnix: 1)
        #expect(site.resource.statusMessage == (needs ? "Not Resolved" : "OK"))
        if needs {
            site.resource.setCondition(.resolved, .ready, nowUnix: 1)
            #expect(site.resource.statusMessage == "OK")
            site.resource.removeCondition(.resolved, nowUnix: 1)
            site.linkAccess = "none"
            site.resource.setCondition(.running, .pending("x"), nowUnix: 1)
            site.resource.setCondition(.running, .ready, nowUnix: 1)
            #expect(site.resource.condition(.ready)?.isTrue == true)
        }
    }

    @Test func certificatesHaveNoAggregate() {
        var certificate = Resource(kind: .certificate, name: "c")
        certificate.setCondition(.ready, .ready, nowUnix: 1)
        #expect(certificate.condition(.ready)?.isTrue == true)
        #expect(certificate.statusWord.isEmpty)
    }

    @Test func theTimeChangesWithTrueAndFalseOnly() {
        var link = Resource(kind: .link, name: "x")
        #expect(link.setCondition(.configured, .pending("a"), nowUnix: 0) == true)
        #expect(link.setCondition(.configured, .pending("a"), nowUnix: 100) == false)
        #expect(link.setCondition(.configured, .error("b"), nowUnix: 200) == true)
        #expect(link.condition(.configured)?.lastTransitionTime == "1970-01-01T00:00:00Z")
        #expect(link.setCondition(.configured, .ready, nowUnix: 300) == true)
        #expect(link.condition(.configured)?.lastTransitionTime == "1970-01-01T00:05:00Z")
        link.generation = 2
        #expect(link.setCondition(.configured, .ready, nowUnix: 400) == true, "a new generation is a change")
        #expect(link.condition(.configured)?.lastTransitionTime == "1970-01-01T00:05:00Z")
        #expect(link.condition(.configured)?.observedGeneration == 2)
    }

    @Test func theThreeShapes() {
        #expect(ConditionState.ready.status == "True" && ConditionState.ready.reason == "Ready")
        #expect(ConditionState.ready.message == "OK")
        let error = ConditionState.error("x")
        #expect(error.status == "False" && error.reason == "Error" && error.message == "x")
        let pending = ConditionState.pending("")
        #expect(pending.status == "False" && pending.reason == "Pending" && pending.message == "Pending")
    }

    @Test func foreignConditionsAndFieldsStay() throws {
        let text = """
            {apiVersion: skupper.io/v2alpha1, kind: Link, metadata: {name: x}, status: {conditions: [
              {type: Other, status: "Unknown", extra: 1}, {type: Configured, status: "False", extra: 2}]}}
            """
        var link = try Resource.parseAll(yaml: text)[0]
        link.setCondition(.configured, .ready, nowUnix: 5)
        let conditions = try #require(link.status("conditions")?.listValue)
        #expect(conditions.count == 3)
        #expect(conditions[0]["extra"] == 1)
        #expect(conditions[1]["extra"] == 2)
        #expect(conditions[1]["status"] == "True")
    }

    @Test func aTokenCopiesItsCondition() throws {
        let text = """
            {apiVersion: skupper.io/v2alpha1, kind: AccessToken, metadata: {name: x}, status: {conditions: [
              {type: Redeemed, status: "True", reason: Error, message: Already redeemed for a deleted site}]}}
            """
        let token = try Resource.parseAll(yaml: text)[0]
        #expect(
            token.aggregatedStatus()
                == StatusSummary(status: "Error", message: "Already redeemed for a deleted site"))
    }
}
