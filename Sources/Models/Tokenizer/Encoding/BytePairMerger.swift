/// Merges the tokens of one word. Short words are scanned for their best pair again and again; long ones keep a heap.
struct BytePairMerger {
    /// The word's tokens: filled by the caller, merged by `merge`.
    var tokens: [Int32] = []
    private var ranks: [UInt32] = []
    private var results: [Int32] = []

    // For long words: a linked list over the tokens, and a heap of (rank, place).
    private var next: [Int32] = []
    private var previous: [Int32] = []
    private var heap: [UInt64] = []

    private static let longestScan = 48

    mutating func merge(_ merges: PairTable) {
        guard tokens.count > 1 else { return }
        if tokens.count <= Self.longestScan { scan(merges) } else { mergeByHeap(merges) }
    }

    private mutating func scan(_ merges: PairTable) {
        ranks.removeAll(keepingCapacity: true)
        results.removeAll(keepingCapacity: true)
        for index in 0..<tokens.count - 1 {
            let (rank, result) = merges.find(tokens[index], tokens[index + 1])
            ranks.append(rank)
            results.append(result)
        }
        while true {
            var best = UInt32.max
            var place = -1
            for index in ranks.indices where ranks[index] < best { (best, place) = (ranks[index], index) }
            guard place >= 0 else { return }
            tokens[place] = results[place]
            tokens.remove(at: place + 1)
            ranks.remove(at: place)
            results.remove(at: place)
            if place < ranks.count { (ranks[place], results[place]) = merges.find(tokens[place], tokens[place + 1]) }
            if place > 0 { (ranks[place - 1], results[place - 1]) = merges.find(tokens[place - 1], tokens[place]) }
        }
    }

    private mutating func mergeByHeap(_ merges: PairTable) {
        let count = tokens.count
        next.removeAll(keepingCapacity: true)
        previous.removeAll(keepingCapacity: true)
        heap.removeAll(keepingCapacity: true)
        for index in 0..<count {
            next.append(index + 1 < count ? Int32(index + 1) : -1)
            previous.append(Int32(index - 1))
        }
        for index in 0..<count - 1 { push(merges, index) }
        while let top = popSmallest() {
            let place = Int(UInt32(truncatingIfNeeded: top))
            // Of a pair that is no longer there, the rank differs: a pair's rank is its own.
            guard tokens[place] >= 0, next[place] >= 0 else { continue }
            let other = Int(next[place])
            let (rank, result) = merges.find(tokens[place], tokens[other])
            guard rank == UInt32(truncatingIfNeeded: top >> 32) else { continue }
            tokens[place] = result
            tokens[other] = -1
            next[place] = next[other]
            if next[other] >= 0 {
                previous[Int(next[other])] = Int32(place)
                push(merges, place)
            }
            if previous[place] >= 0 { push(merges, Int(previous[place])) }
        }
        tokens.removeAll { $0 < 0 }
    }

    private mutating func push(_ merges: PairTable, _ place: Int) {
        let rank = merges.find(tokens[place], tokens[Int(next[place])]).rank
        guard rank != .max else { return }
        heap.append(UInt64(rank) << 32 | UInt64(place))
        var child = heap.count - 1
        let value = heap[child]
        while child > 0 {
            let parent = (child - 1) / 2
            if heap[parent] <= value { break }
            heap[child] = heap[parent]
            child = parent
        }
        heap[child] = value
    }

    private mutating func popSmallest() -> UInt64? {
        guard let smallest = heap.first, let last = heap.popLast() else { return nil }
        let count = heap.count
        guard count > 0 else { return smallest }
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < count else { break }
            if child + 1 < count, heap[child + 1] < heap[child] { child += 1 }
            if heap[child] >= last { break }
            heap[parent] = heap[child]
            parent = child
        }
        heap[parent] = last
        return smallest
    }
}
