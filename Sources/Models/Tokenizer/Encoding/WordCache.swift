import Formats

/// The tokens of words seen before in the same text. When it is full it starts anew.
struct WordCache {
    private struct Slot {
        var hash: UInt64 = 0
        var keyStart: UInt32 = 0, keyCount: UInt32 = 0
        var idStart: UInt32 = 0, idCount: UInt32 = 0
    }

    private var slots: [Slot]
    private var keys: [UInt8] = []
    private var ids: [Int32] = []
    private var used = 0

    /// Longer words are not kept.
    static let longestWord = 64

    /// - Parameter textByteCount: how long the text is, which bounds what is worth keeping.
    init(textByteCount: Int) {
        var capacity = 64
        while capacity < 65_536, capacity * 8 < textByteCount { capacity *= 2 }
        slots = Array(repeating: Slot(), count: capacity)
    }

    static func hash(_ word: Span<UInt8>) -> UInt64 {
        // Bytes have no padding.
        let bytes = unsafe word.bytes
        var hash = UInt64(truncatingIfNeeded: word.count) &* 0x9E37_79B9_7F4A_7C15
        var place = 0
        while place + 8 <= bytes.byteCount {
            hash = (hash ^ (bytes.littleEndian(at: place) as UInt64)) &* 0xFF51_AFD7_ED55_8CCD
            hash ^= hash >> 32
            place += 8
        }
        var rest: UInt64 = 0
        while place < bytes.byteCount {
            rest = rest << 8 | UInt64(word[place])
            place += 1
        }
        hash = (hash ^ rest) &* 0xC4CE_B9FE_1A85_EC53
        hash ^= hash >> 29
        // 0 marks a free slot.
        return hash | 1
    }

    /// Appends a word's tokens if it is known.
    @inline(__always)
    func append(_ word: Span<UInt8>, _ hash: UInt64, to result: inout [Int]) -> Bool {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash >> 1) & mask
        while slots[slot].hash != 0 {
            if slots[slot].hash == hash, isKey(slots[slot], word) {
                let start = Int(slots[slot].idStart)
                for index in start..<start + Int(slots[slot].idCount) { result.append(Int(ids[index])) }
                return true
            }
            slot = (slot + 1) & mask
        }
        return false
    }

    @inline(__always)
    private func isKey(_ slot: Slot, _ word: Span<UInt8>) -> Bool {
        guard Int(slot.keyCount) == word.count else { return false }
        let start = Int(slot.keyStart)
        for index in word.indices where keys[start + index] != word[index] { return false }
        return true
    }

    /// Keeps a word that is not known.
    mutating func insert(_ word: Span<UInt8>, _ hash: UInt64, _ tokens: ArraySlice<Int>) {
        if used * 2 >= slots.count {
            for index in slots.indices { slots[index].hash = 0 }
            keys.removeAll(keepingCapacity: true)
            ids.removeAll(keepingCapacity: true)
            used = 0
        }
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash >> 1) & mask
        while slots[slot].hash != 0 { slot = (slot + 1) & mask }
        slots[slot] = Slot(
            hash: hash, keyStart: UInt32(keys.count), keyCount: UInt32(word.count), idStart: UInt32(ids.count),
            idCount: UInt32(tokens.count))
        keys.append(word)
        for id in tokens { ids.append(Int32(id)) }
        used += 1
    }
}
