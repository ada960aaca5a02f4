import Formats
import LinearAlgebra
import Models

/// The token sequences a model is calibrated with.
public struct CalibrationWindows: Sendable, Equatable {
    /// All of one length.
    public let windows: [[Int]]

    init(windows: [[Int]]) { self.windows = windows }

    public var context: Int { windows.first?.count ?? 0 }

    public var tokenCount: Int { windows.count * context }

    /// Windows drawn from a text at random places, as the usual calibrations do.
    ///
    /// - Parameters:
    ///   - tokens: the text's.
    ///   - count: how many windows; they may overlap.
    ///   - seed: of the generator that chooses the places.
    /// - Throws: `EvaluationError.textTooShort`.
    public init(drawnFrom tokens: [Int], count: Int, context: Int, seed: UInt64) throws(EvaluationError) {
        guard tokens.count >= context, context > 0 else { throw EvaluationError(.textTooShort(tokens: tokens.count, context: context)) }
        var generator = SeededGenerator(seed: seed)
        windows = (0..<count).map { _ in
            let start = Int.random(in: 0...tokens.count - context, using: &generator)
            return Array(tokens[start..<start + context])
        }
    }

    /// Windows side by side, from the start: for token files that were cut already.
    public init(inOrder tokens: [Int], count: Int, context: Int) throws(EvaluationError) {
        guard tokens.count >= context, context > 0 else { throw EvaluationError(.textTooShort(tokens: tokens.count, context: context)) }
        windows = (0..<min(count, tokens.count / context)).map { Array(tokens[$0 * context..<($0 + 1) * context]) }
    }

    /// SHA-256 of the ids, which keys what is computed from them.
    var digest: Digest { Digest(of: windows.map { Digest(of: $0.map(String.init).joined(separator: " ")) }) }
}
