/// A parsed regular expression.
indirect enum PatternNode: Equatable {
    enum Greed: Equatable {
        case greedy, lazy, possessive
    }

    enum Anchor: Equatable {
        case lineStart, lineEnd, textStart, textEnd, lastLineEnd, wordBoundary, noWordBoundary
    }

    case empty
    case set(ScalarSet)
    case sequence([PatternNode])
    case alternation([PatternNode])
    /// `maximum` is `nil` for no limit.
    case repetition(PatternNode, minimum: Int, maximum: Int?, Greed)
    case lookahead(PatternNode, isNegative: Bool)
    /// Whether the code point before is of a set.
    case lookbehind(ScalarSet, isNegative: Bool)
    case atomic(PatternNode)
    case anchor(Anchor)

    /// Whether it can match without taking a character.
    var isNullable: Bool {
        switch self {
        case .set: false
        case .empty, .lookahead, .lookbehind, .anchor: true
        case .sequence(let nodes): nodes.allSatisfy(\.isNullable)
        case .alternation(let nodes): nodes.contains(where: \.isNullable)
        case .repetition(let node, let minimum, _, _): minimum == 0 || node.isNullable
        case .atomic(let node): node.isNullable
        }
    }

    /// The bytes that a match can start with; all of them when it can be empty.
    var firstBytes: ByteSet {
        switch self {
        case .empty, .lookahead, .lookbehind, .anchor: return .all
        case .set(let set): return ByteSet(leading: set)
        case .sequence(let nodes):
            var bytes = ByteSet()
            for node in nodes {
                // What only looks takes nothing, so the next node's bytes are what counts.
                if !node.onlyLooks { bytes.formUnion(node.firstBytes(orNothing: true)) }
                if !node.isNullable { return bytes }
            }
            return .all
        case .alternation(let nodes): return nodes.reduce(into: ByteSet()) { $0.formUnion($1.firstBytes) }
        case .repetition(let node, let minimum, _, _): return minimum == 0 ? .all : node.firstBytes
        case .atomic(let node): return node.firstBytes
        }
    }

    private var onlyLooks: Bool {
        switch self {
        case .empty, .lookahead, .lookbehind, .anchor: true
        default: false
        }
    }

    /// The bytes that a match which is not empty can start with.
    private func firstBytes(orNothing: Bool) -> ByteSet {
        if case .repetition(let node, _, _, _) = self { return node.firstBytes }
        return firstBytes
    }
}

/// A set of byte values.
struct ByteSet: Sendable {
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    static var all: ByteSet {
        var set = ByteSet()
        set.words = (.max, .max, .max, .max)
        return set
    }

    init() {}

    /// The first bytes of the UTF-8 of a set's code points.
    init(leading set: ScalarSet) {
        func lead(_ scalar: UInt32) -> UInt8 {
            switch scalar {
            case 0..<0x80: UInt8(scalar)
            case 0x80..<0x800: UInt8(0xC0 | scalar >> 6)
            case 0x800..<0x10000: UInt8(0xE0 | scalar >> 12)
            default: UInt8(0xF0 | scalar >> 18)
            }
        }
        for range in set.ranges {
            for byte in lead(range.lowerBound)...lead(range.upperBound) { insert(byte) }
        }
    }

    mutating func insert(_ byte: UInt8) {
        let bit: UInt64 = 1 << UInt64(byte & 63)
        switch byte >> 6 {
        case 0: words.0 |= bit
        case 1: words.1 |= bit
        case 2: words.2 |= bit
        default: words.3 |= bit
        }
    }

    mutating func formUnion(_ other: ByteSet) {
        words = (words.0 | other.words.0, words.1 | other.words.1, words.2 | other.words.2, words.3 | other.words.3)
    }

    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        let word =
            switch byte >> 6 {
            case 0: words.0
            case 1: words.1
            case 2: words.2
            default: words.3
            }
        return word >> UInt64(byte & 63) & 1 != 0
    }

    var isAll: Bool { words == (.max, .max, .max, .max) }
}
