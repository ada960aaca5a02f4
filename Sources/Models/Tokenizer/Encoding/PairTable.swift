/// Pairs of tokens and what they merge to: open addressing over one array.
struct PairTable: Sendable {
    private struct Entry {
        /// Left id in the high half, right id in the low one; all ones: free.
        var key: UInt64 = .max
        var rank: UInt32 = .max
        var result: Int32 = -1
    }

    private var entries: [Entry]
    private let mask: Int

    /// - Parameter count: how many pairs are to come at most.
    init(count: Int) {
        var capacity = 16
        while capacity < count * 2 { capacity *= 2 }
        entries = Array(repeating: Entry(), count: capacity)
        mask = capacity - 1
    }

    static func key(_ left: Int32, _ right: Int32) -> UInt64 { UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right)) }

    @inline(__always)
    private func slot(_ key: UInt64) -> Int {
        var slot = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask
        while entries[slot].key != key, entries[slot].key != .max { slot = (slot + 1) & mask }
        return slot
    }

    /// Sets a pair; one that is there takes the new values.
    mutating func set(_ left: Int32, _ right: Int32, rank: UInt32, result: Int32) {
        let key = Self.key(left, right)
        entries[slot(key)] = Entry(key: key, rank: rank, result: result)
    }

    /// The rank of a pair, `.max` for one that does not merge, and what it makes.
    @inline(__always)
    func find(_ left: Int32, _ right: Int32) -> (rank: UInt32, result: Int32) {
        let entry = entries[slot(Self.key(left, right))]
        return (entry.rank, entry.result)
    }
}
