import TestKit
import Testing

@testable import AMQPEndpoints

/// Every state with every event. A table lists the moves that exist; all other pairs are refused: an event of the peer
/// by an error, one of our own by the driver never making it (it would trap, so only the table is asked).
@Suite struct StateTableTests {
    typealias Connection = ConnectionMachine
    typealias Session = SessionMachine
    typealias Link = LinkMachine

    static let connectionMoves: [Connection.State: [Connection.Event: Connection.State]] = [
        .start: [.headerSent: .hdrSent, .headerReceived: .hdrRcvd],
        .hdrRcvd: [.headerSent: .hdrExch],
        .hdrSent: [.headerReceived: .hdrExch, .openSent: .openPipe],
        .hdrExch: [.openSent: .openSent, .openReceived: .openRcvd],
        .openPipe: [.headerReceived: .openSent, .closeSent: .ocPipe],
        .ocPipe: [.headerReceived: .closePipe],
        .openSent: [.openReceived: .opened, .closeSent: .closePipe, .discardSent: .discarding],
        .openRcvd: [.openSent: .opened],
        .closePipe: [.openReceived: .closeSent],
        .opened: [.closeSent: .closeSent, .closeReceived: .closeRcvd, .discardSent: .discarding],
        .closeRcvd: [.closeSent: .end],
        .closeSent: [.closeReceived: .end],
        .discarding: [.openReceived: .discarding, .closeReceived: .end],
        .end: [:],
    ]

    @Test func connection() throws {
        #expect(Self.connectionMoves.count == Connection.State.allCases.count)
        try withEvery(Connection.State.allCases, Connection.Event.allCases) { state, event in
            let expected = Self.connectionMoves[state]?[event]
            #expect(Connection.next(state, event) == expected, "\(state), \(event)")
            let isPeers = [.headerReceived, .openReceived, .closeReceived].contains(event)
            guard isPeers || expected != nil else { return }
            var machine = Connection(state: state)
            if let expected {
                try machine.apply(event)
                #expect(machine.state == expected)
            } else {
                let error = #expect(throws: EndpointError.self, "\(state), \(event)") { try machine.apply(event) }
                #expect(error?.scope == .connection && error?.condition == "amqp:connection:framing-error")
                #expect(machine.state == state, "a refused event must leave \(state)")
            }
        }
    }

    @Test func connectionPermissions() {
        for state in Connection.State.allCases {
            let machine = Connection(state: state)
            #expect(machine.acceptsFrames == (state == .opened), "\(state)")
            #expect(machine.maySendFrames == [.opened, .closeRcvd, .openSent, .openPipe].contains(state), "\(state)")
        }
    }

    static let sessionMoves: [Session.State: [Session.Event: Session.State]] = [
        .unmapped: [.beginSent: .beginSent, .beginReceived: .beginRcvd],
        .beginSent: [.beginReceived: .mapped, .endSent: .endSent],
        .beginRcvd: [.beginSent: .mapped],
        .mapped: [.endSent: .endSent, .endReceived: .endRcvd, .discardSent: .discarding],
        .endSent: [.beginReceived: .endSent, .endReceived: .unmapped],
        .endRcvd: [.endSent: .unmapped],
        .discarding: [.endReceived: .unmapped],
    ]

    /// Events that bring a new session machine to each state.
    static let sessionPaths: [Session.State: [Session.Event]] = [
        .unmapped: [], .beginSent: [.beginSent], .beginRcvd: [.beginReceived], .mapped: [.beginSent, .beginReceived],
        .endSent: [.beginSent, .beginReceived, .endSent], .endRcvd: [.beginReceived, .beginSent, .endReceived],
        .discarding: [.beginSent, .beginReceived, .discardSent],
    ]

    @Test func session() throws {
        #expect(Self.sessionMoves.count == Session.State.allCases.count)
        try withEvery(Session.State.allCases, Session.Event.allCases) { state, event in
            let expected = Self.sessionMoves[state]?[event]
            #expect(Session.next(state, event) == expected, "\(state), \(event)")
            let isPeers = event == .beginReceived || event == .endReceived
            guard isPeers || expected != nil else { return }
            var machine = Session(incomingWindow: 10)
            for step in try #require(Self.sessionPaths[state]) { try machine.apply(step) }
            #expect(machine.state == state)
            if let expected {
                try machine.apply(event)
                #expect(machine.state == expected)
            } else {
                let error = #expect(throws: EndpointError.self, "\(state), \(event)") { try machine.apply(event) }
                #expect(error?.scope == .connection)
                #expect(machine.state == state)
            }
        }
    }

    static let linkMoves: [Link.State: [Link.Event: Link.State]] = [
        .detached: [.attachSent: .attachSent, .attachReceived: .attachRcvd],
        .attachSent: [.attachReceived: .attached, .detachSent: .detachSent],
        .attachRcvd: [.attachSent: .attached, .detachSent: .detachSent, .detachReceived: .detachRcvd],
        .attached: [.detachSent: .detachSent, .detachReceived: .detachRcvd],
        .detachSent: [.attachReceived: .detachSent, .detachReceived: .detached],
        .detachRcvd: [.detachSent: .detached],
    ]

    static let linkPaths: [Link.State: [Link.Event]] = [
        .detached: [], .attachSent: [.attachSent], .attachRcvd: [.attachReceived],
        .attached: [.attachSent, .attachReceived],
        .detachSent: [.attachReceived, .attachSent, .detachSent],
        .detachRcvd: [.attachReceived, .attachSent, .detachReceived],
    ]

    @Test func link() throws {
        #expect(Self.linkMoves.count == Link.State.allCases.count)
        try withEvery(Link.State.allCases, Link.Event.allCases) { state, event in
            let expected = Self.linkMoves[state]?[event]
            #expect(Link.next(state, event) == expected, "\(state), \(event)")
            let isPeers = event == .attachReceived || event == .detachReceived
            guard isPeers || expected != nil else { return }
            var machine = Link(role: .sender)
            for step in try #require(Self.linkPaths[state]) { try machine.apply(step) }
            #expect(machine.state == state)
            if let expected {
                try machine.apply(event)
                #expect(machine.state == expected)
            } else {
                let error = #expect(throws: EndpointError.self, "\(state), \(event)") { try machine.apply(event) }
                #expect(error?.scope == .session)
                #expect(
                    error?.condition
                        == (event == .attachReceived ? "amqp:session:handle-in-use" : "amqp:session:errant-link"))
                #expect(machine.state == state)
            }
        }
    }
}
