/// Byte strings with a number each, found by walking over a text.
struct ByteTrie: Sendable {
    /// (node, byte) to node: open addressing, bit 60, the node and the byte; or 0.
    private var keys: [UInt64]
    private var targets: [Int32]
    private var used = 0
    /// The number of the string that ends in a node, or -1.
    private var values: [Int32] = [-1]

    init() {
        keys = Array(repeating: 0, count: 64)
        targets = Array(repeating: 0, count: 64)
    }

    var isEmpty: Bool { used == 0 }

    /// Adds a string; one that is there already takes the new number.
    mutating func insert(_ bytes: some Sequence<UInt8>, _ value: Int) {
        var node = 0
        for byte in bytes {
            if let next = next(node, byte) {
                node = next
            } else {
                let next = values.count
                values.append(-1)
                add(node, byte, next)
                node = next
            }
        }
        values[node] = Int32(value)
    }

    private func key(_ node: Int, _ byte: UInt8) -> UInt64 { 1 << 60 | UInt64(node) << 8 | UInt64(byte) }

    private func slot(_ key: UInt64) -> Int {
        let mask = keys.count - 1
        var slot = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 24) & mask
        while keys[slot] != 0, keys[slot] != key { slot = (slot + 1) & mask }
        return slot
    }

    private mutating func add(_ node: Int, _ byte: UInt8, _ target: Int) {
        if used * 2 >= keys.count {
            let old = zip(keys, targets).filter { $0.0 != 0 }
            keys = Array(repeating: 0, count: keys.count * 2)
            targets = Array(repeating: 0, count: keys.count)
            for (key, target) in old {
                let slot = slot(key)
                (keys[slot], targets[slot]) = (key, target)
            }
        }
        let slot = slot(key(node, byte))
        (keys[slot], targets[slot]) = (key(node, byte), Int32(target))
        used += 1
    }

    /// The node after a byte; 0 is the root.
    @inline(__always)
    func next(_ node: Int, _ byte: UInt8) -> Int? {
        let slot = slot(key(node, byte))
        return keys[slot] == 0 ? nil : Int(targets[slot])
    }

    /// The number of the string that ends in a node.
    @inline(__always)
    func value(_ node: Int) -> Int? { values[node] < 0 ? nil : Int(values[node]) }

    /// The longest string at a place.
    func longest(in text: Span<UInt8>, at place: Int) -> (value: Int, end: Int)? {
        var node = 0, end = place
        var found: (Int, Int)?
        while end < text.count, let next = next(node, text[end]) {
            node = next
            end += 1
            if let value = value(node) { found = (value, end) }
        }
        return found
    }
}
