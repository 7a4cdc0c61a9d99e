import AMQPCodec
import TestKit
import Testing

@testable import AMQPEndpoints

/// Recorded connections of two skupper-router 3.5.1, or of one and Proton's client, with our machines in the place of
/// one of them: what it sent are our own events, what the other sent are the peer's. All of it must be legal and no
/// window may be overdrawn.
@Suite struct ReplayTests {
    @Test(arguments: RecordedConnection.names) func everyRecordingIsLegal(name: String) throws {
        let recording = try RecordedConnection(name)
        try withEvery(RecordedUnit.Side.allCases) { side in
            var replay = try Replay(own: side, of: recording)
            for (number, unit) in recording.units.enumerated() {
                do {
                    try replay.take(unit)
                } catch {
                    throw CombinationFailure(combination: "\(name) unit \(number) from \(unit.side)", reason: error)
                }
            }
            #expect(replay.hasOpened, "\(name) as \(side)")
            // A recording ends by a close on both sides, by an end without one, or is cut.
            #expect(
                [.opened, .closeSent, .closeRcvd, .end].contains(replay.connection.state), "\(replay.connection.state)")
        }
    }

    @Test func theRecordingsExerciseTheMachines() throws {
        var transfers = 0
        var links = 0
        var ended = 0
        for recording in try RecordedConnection.all() {
            var replay = try Replay(own: .connector, of: recording)
            for unit in recording.units { try replay.take(unit) }
            transfers += replay.transfers
            links += replay.links.count
            ended += replay.connection.state == .end ? 1 : 0
        }
        #expect(transfers > 300 && links > 100 && ended > 2, "\(transfers) \(links) \(ended)")
    }
}
