/// A set of code points as sorted ranges that do not touch.
struct ScalarSet: Sendable, Equatable {
    private(set) var ranges: [ClosedRange<UInt32>]

    static let last: UInt32 = 0x10FFFF
    static let all = ScalarSet(sorted: [0...last])
    static let none = ScalarSet(sorted: [])

    /// Ranges in order that do not overlap.
    init(sorted ranges: [ClosedRange<UInt32>]) { self.ranges = ranges }

    init(_ ranges: [ClosedRange<UInt32>]) {
        self.ranges = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let previous = self.ranges.last, range.lowerBound <= previous.upperBound + 1 {
                if range.upperBound > previous.upperBound {
                    self.ranges[self.ranges.count - 1] = previous.lowerBound...range.upperBound
                }
            } else {
                self.ranges.append(range)
            }
        }
    }

    init(_ scalars: UInt32...) { self.init(scalars.map { $0...$0 }) }

    /// White space: 25 code points that no later version of Unicode changes.
    static let whitespace = ScalarSet([
        0x9...0xD, 0x20...0x20, 0x85...0x85, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A, 0x2028...0x2029, 0x202F...0x202F,
        0x205F...0x205F, 0x3000...0x3000,
    ])

    var inverted: ScalarSet {
        var gaps: [ClosedRange<UInt32>] = []
        var start: UInt32 = 0
        for range in ranges {
            if range.lowerBound > start { gaps.append(start...range.lowerBound - 1) }
            start = range.upperBound + 1
        }
        if start <= Self.last { gaps.append(start...Self.last) }
        return ScalarSet(sorted: gaps)
    }

    func union(_ other: ScalarSet) -> ScalarSet { ScalarSet(ranges + other.ranges) }

    func intersection(_ other: ScalarSet) -> ScalarSet { inverted.union(other.inverted).inverted }

    func contains(_ scalar: UInt32) -> Bool {
        var low = 0, high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < scalar { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count && ranges[low].lowerBound <= scalar
    }

    /// The set with every letter's other case.
    var foldingCase: ScalarSet {
        var more = ranges
        // Letters have cases in a small part of the code space; a set of all others folds to itself.
        for range in ranges where range.lowerBound < 0x1E944 {
            for value in range.lowerBound...min(range.upperBound, 0x1E943) {
                guard let scalar = Unicode.Scalar(value) else { continue }
                for mapping in [scalar.properties.lowercaseMapping, scalar.properties.uppercaseMapping] {
                    let scalars = mapping.unicodeScalars
                    if scalars.count == 1, let first = scalars.first?.value, first != value { more.append(first...first) }
                }
                // The long s and the Kelvin sign are lower and upper case of letters whose own other case is another.
                if value == 0x73 || value == 0x53 { more.append(0x17F...0x17F) }
                if value == 0x6B || value == 0x4B { more.append(0x212A...0x212A) }
            }
        }
        return ScalarSet(more)
    }
}

/// Membership of code points in constant time.
struct ScalarTable: Sendable {
    /// The 128 ASCII characters.
    let low: UInt64, high: UInt64
    /// For each block of 256 code points, its row in `bits`.
    private let blocks: [UInt16]
    /// Rows of 256 bits: 0 for blocks without, 1 for blocks with all members.
    private let bits: [UInt64]

    init(_ set: ScalarSet) {
        var blocks = [UInt16](repeating: 0, count: 0x1100)
        var bits: [UInt64] = [0, 0, 0, 0, .max, .max, .max, .max]
        for range in set.ranges {
            var start = range.lowerBound
            while start <= range.upperBound {
                let block = Int(start >> 8)
                let end = min(range.upperBound, start | 0xFF)
                if start & 0xFF == 0, end & 0xFF == 0xFF {
                    blocks[block] = 1
                } else {
                    if blocks[block] == 0 {
                        blocks[block] = UInt16(bits.count / 4)
                        bits += [0, 0, 0, 0]
                    }
                    for scalar in start...end { bits[Int(blocks[block]) * 4 + Int(scalar >> 6 & 3)] |= 1 << UInt64(scalar & 63) }
                }
                start = end + 1
            }
        }
        self.blocks = blocks
        self.bits = bits
        low = bits[Int(blocks[0]) * 4]
        high = bits[Int(blocks[0]) * 4 + 1]
    }

    func contains(ascii byte: UInt8) -> Bool { (byte < 64 ? low >> UInt64(byte) : high >> UInt64(byte & 63)) & 1 != 0 }

    func contains(_ scalar: UInt32) -> Bool {
        let row = Int(blocks[Int(scalar >> 8)])
        return bits[row * 4 + Int(scalar >> 6 & 3)] >> UInt64(scalar & 63) & 1 != 0
    }
}
