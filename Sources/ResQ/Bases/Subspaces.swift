/// A run of coordinates kept at one precision.
public struct Subspace: Sendable, Equatable {
    /// Which coordinates.
    public let range: Range<Int>
    /// Bits per number, 2 to 8.
    public let bits: Int

    public init(range: Range<Int>, bits: Int) {
        self.range = range
        self.bits = bits
    }
}

/// How a space is cut into subspaces of low, middle and high precision, in this order.
///
///     | low: ⌊f_low · d⌋ | middle: the rest | high: ⌊f_high · d⌋ |
///
/// Coordinates are in the order of the basis, eigenvalues ascending, so that the high part holds the principal
/// directions. The paper's setting is `middle: 4, high: (1/8, 8)`; 6/4/2 is `low: (1/8, 2), middle: 4, high: (1/8, 6)`.
/// Source: ResQ (arXiv 2412.14363), section 4 and the iso-bit-width variant of table 5.
public struct SubspaceSplit: Sendable, Equatable {
    /// A part's share of the dimensions, and its precision.
    public struct Share: Sendable, Equatable {
        public let fraction: Double
        public let bits: Int

        public init(fraction: Double, bits: Int) {
            self.fraction = fraction
            self.bits = bits
        }
    }

    public let low: Share?
    /// Bits of the part that takes what the others leave.
    public let middleBits: Int
    public let high: Share?

    /// - Throws: `bitsOutOfRange`, `fractionOutOfRange`.
    public init(low: Share? = nil, middleBits: Int, high: Share? = nil) throws(ResQError) {
        for bits in [low?.bits, middleBits, high?.bits] {
            if let bits, !(2...8).contains(bits) { throw .bitsOutOfRange(bits) }
        }
        for fraction in [low?.fraction, high?.fraction] {
            if let fraction, !(fraction > 0 && fraction < 1) { throw .fractionOutOfRange(fraction) }
        }
        let sum = (low?.fraction ?? 0) + (high?.fraction ?? 0)
        guard sum < 1 else { throw .fractionOutOfRange(sum) }
        self.low = low
        self.middleBits = middleBits
        self.high = high
    }

    /// The subspaces of a space of `width` dimensions, in order.
    ///
    /// - Throws: `emptySubspace`, `oddSubspace`.
    public func subspaces(width: Int) throws(ResQError) -> [Subspace] {
        func count(_ share: Share?) throws(ResQError) -> Int {
            guard let share else { return 0 }
            // A fraction such as 0.1 is not exact: 0.1 · 320 must be 32.
            let count = Int((share.fraction * Double(width) + 1e-9).rounded(.down))
            guard count > 0 else { throw .emptySubspace(width: width, fraction: share.fraction) }
            guard count % 2 == 0 else { throw .oddSubspace(width: width, fraction: share.fraction, dimensions: count) }
            return count
        }
        let (lowCount, highCount) = (try count(low), try count(high))
        let middleCount = width - lowCount - highCount
        let rest = 1 - (low?.fraction ?? 0) - (high?.fraction ?? 0)
        guard middleCount > 0 else { throw .emptySubspace(width: width, fraction: rest) }
        guard middleCount % 2 == 0 || (low == nil && high == nil) else {
            throw .oddSubspace(width: width, fraction: rest, dimensions: middleCount)
        }
        var parts: [Subspace] = []
        if let low { parts.append(Subspace(range: 0..<lowCount, bits: low.bits)) }
        parts.append(Subspace(range: lowCount..<lowCount + middleCount, bits: middleBits))
        if let high { parts.append(Subspace(range: width - highCount..<width, bits: high.bits)) }
        return parts
    }
}

/// The order that gathers every head's parts of one precision.
///
/// The input of an output projection is a row of heads, each `| low | middle | high |`. In the order returned all low
/// coordinates come first, head after head, then all middle, then all high ones; column i of the permuted weight is
/// column `order[i]` of the original. Source: ResQ's handling of the output projection.
///
/// - Parameter subspaces: of one head, covering its dimensions.
public func headColumnOrder(headCount: Int, subspaces: [Subspace]) -> [Int] {
    let width = subspaces.last?.range.upperBound ?? 0
    return subspaces.flatMap { part in (0..<headCount).flatMap { head in part.range.map { head * width + $0 } } }
}

/// The subspaces of a row of heads whose columns stand in `headColumnOrder`.
public func gatheredSubspaces(headCount: Int, subspaces: [Subspace]) -> [Subspace] {
    subspaces.map { part in Subspace(range: part.range.lowerBound * headCount..<part.range.upperBound * headCount, bits: part.bits) }
}

/// Puts columns into another order.
///
///     W[r, i] ← W[r, order[i]]
///
/// - Parameters:
///   - rows: whole rows of `order.count` elements; changed in place.
///   - order: a permutation.
public func permuteColumns(of rows: inout MutableSpan<Float>, order: [Int]) {
    precondition(!order.isEmpty && rows.count % order.count == 0, "whole rows")
    var copy = [Float](repeating: 0, count: order.count)
    for start in stride(from: 0, to: rows.count, by: order.count) {
        for (index, source) in order.enumerated() { copy[index] = rows[start + source] }
        for index in order.indices { rows[start + index] = copy[index] }
    }
}

/// The permutation that undoes another: `inverse[order[i]] = i`.
public func inversePermutation(_ order: [Int]) -> [Int] {
    var inverse = [Int](repeating: 0, count: order.count)
    for (index, source) in order.enumerated() { inverse[source] = index }
    return inverse
}
