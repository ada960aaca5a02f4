import CKernels
import Synchronization
import Threads

/// Rounds activations, keys and values as a runtime would store them.
///
///     asymmetric:  s = (max - min) / (2^b - 1),  z = round(-min / s),  x̂ = s (clamp(round(x / s) + z, 0, 2^b - 1) - z)
///     symmetric:   s = max|x| / (2^(b-1) - 1),   x̂ = s clamp(round(x / s), -2^(b-1), 2^(b-1) - 1)
///
/// One scale for each part of each group of each row, found from the numbers themselves; halves round to even. A group is
/// the whole row (per token) or one head of it (per token and head), and its parts are the subspaces of different
/// precision. Source: ResQ (arXiv 2412.14363) and its activation quantizer. A part without range is kept as it is.
public struct ActivationQuantizer: Sendable, Equatable {
    /// The parts of a group, covering it.
    public let subspaces: [Subspace]
    /// Elements of a group.
    public let groupWidth: Int
    public let isSymmetric: Bool
    /// Whether min and max include 0: as the paper does for whole tokens, but not for heads.
    public let includesZero: Bool

    public init(subspaces: [Subspace], isSymmetric: Bool = false, includesZero: Bool) {
        precondition(!subspaces.isEmpty, "a group has parts")
        self.subspaces = subspaces
        groupWidth = subspaces.last?.range.upperBound ?? 0
        self.isSymmetric = isSymmetric
        self.includesZero = includesZero
    }

    /// Rounds rows in place.
    ///
    /// - Parameters:
    ///   - rows: whole rows.
    ///   - columnCount: of a row: whole groups.
    /// - Throws: `notFinite` with the first row that holds an infinity or NaN, and the first such column.
    public func apply(to rows: inout MutableSpan<Float>, columnCount: Int, threadCount: Int = 1) throws(ResQError) {
        precondition(columnCount > 0 && rows.count % columnCount == 0 && columnCount % groupWidth == 0, "whole rows of whole groups")
        let (groupCount, run) = (rows.count / groupWidth, max(1, 32_768 / groupWidth))
        let bad: Int? = unsafe rows.withUnsafeMutableBufferPointer { rows in
            guard let base = rows.baseAddress else { return nil }
            // Sound to share: tasks change disjoint groups.
            let start = unsafe SharedMutable(base)
            let first = Mutex<Int?>(nil)
            inParallel(count: (groupCount + run - 1) / run, threadCount: threadCount) { task in
                let groups = task * run..<min(groupCount, (task + 1) * run)
                guard let bad = unsafe apply(toGroups: groups, at: start.pointer) else { return }
                first.withLock { $0 = min($0 ?? bad, bad) }
            }
            return first.withLock { $0 }
        }
        if let bad { throw .notFinite(row: bad / columnCount, column: bad % columnCount) }
    }

    /// Rounds some groups, of those that stand one after another from `start` on.
    /// - Returns: the place of the first number that is not finite, where it stops.
    @unsafe private func apply(toGroups groups: Range<Int>, at start: UnsafeMutablePointer<Float>) -> Int? {
        for group in groups {
            for part in subspaces {
                // Groups are whole and cover the rows, so that each part lies inside them.
                let place = group * groupWidth + part.range.lowerBound
                let run = unsafe start + place
                let isFinite = unsafe isSymmetric
                    ? resq_round_symmetric(run, part.range.count, Int32(part.bits))
                    : resq_round_range(run, part.range.count, Int32(part.bits), includesZero ? 1 : 0)
                if isFinite == 0 { return place + ((0..<part.range.count).first { unsafe !run[$0].isFinite } ?? 0) }
            }
        }
        return nil
    }
}
