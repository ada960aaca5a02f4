import Formats
import Foundation
import Models
import Passes
import Testing

/// Real models beside transformers, where `RESQ_FORWARD` names them: `MODEL=LOGITS`, several apart by colons, the logits
/// made by `scripts/consumers/forward_logits.py`.
@Suite struct RealModelTests {
    static let cases = (ProcessInfo.processInfo.environment["RESQ_FORWARD"] ?? "").split(separator: ":").map(String.init)

    @Test(.enabled(if: !cases.isEmpty), arguments: cases) func logitsAreThoseOfTheReference(pair: String) throws {
        let parts = pair.split(separator: "=").map(String.init)
        try #require(parts.count == 2)
        let golden = try openTensorSource(at: parts[1])
        func tensor(_ name: String) throws -> Int { try #require(golden.manifest.tensors.firstIndex { $0.name == name }) }
        let ids = try TokenFile.read(parts[1])
        let expected = floats(try golden.bytes(ofTensorAt: try tensor("logits")))
        let width = expected.count / ids.count
        let network = try graph(at: parts[0]).network(weightBudget: 4 << 30, threadCount: 2)
        for (kind, pieces) in [("whole", nil), ("in pieces", [ids.count / 2, 1, 1, 1, ids.count])] as [(String, [Int]?)] {
            let logits = try network.logits([ids], pieces: pieces)[0]
            let difference = largestDifference(logits, ids.indices.map { Array(expected[$0 * width..<($0 + 1) * width]) })
            print("\(pair) \(kind): largest difference \(difference)")
            #expect(difference < 1e-3)
        }
    }
}
