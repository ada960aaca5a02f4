/// What a matcher knows of one text: which (instruction, place) it has tried.
///
/// Positions never run back along a way to a match, so after a match that ends at `e` the next search can only meet a way that led
/// to it at `e` itself: forgetting that one place keeps "tried" the same as "failed".
struct PatternMemory {
    private static let pageSize = 1024
    private let wordsPerPlace: Int
    /// For each 1024 places, where their bits start, or -1.
    private var pages: [Int]
    private var bits: [UInt64] = []
    /// For each instruction that is a loop without limit: the run of characters it took last, and from where on all was tried.
    private var runs: [Run]

    struct Run {
        var start = 0, end = -1, tried = 0
    }

    init(instructions: Int, byteCount: Int) {
        wordsPerPlace = instructions / 64 + 1
        pages = Array(repeating: -1, count: byteCount / Self.pageSize + 1)
        runs = Array(repeating: Run(), count: instructions)
    }

    private func offset(_ place: Int) -> Int? {
        let page = pages[place / Self.pageSize]
        return page < 0 ? nil : page + place % Self.pageSize * wordsPerPlace
    }

    /// Marks as tried. - Returns: whether it was tried before.
    mutating func insert(_ instruction: Int, _ place: Int) -> Bool {
        if offset(place) == nil {
            pages[place / Self.pageSize] = bits.count
            bits.append(contentsOf: repeatElement(0, count: Self.pageSize * wordsPerPlace))
        }
        let word = (offset(place) ?? 0) + instruction / 64
        let bit: UInt64 = 1 << UInt64(instruction % 64)
        defer { bits[word] |= bit }
        return bits[word] & bit != 0
    }

    /// Forgets some instructions at some places.
    mutating func forget(_ instructions: Range<Int>, _ places: ClosedRange<Int>) {
        for place in places {
            guard let offset = offset(place) else { continue }
            for word in instructions.lowerBound / 64...(instructions.upperBound - 1) / 64 {
                let first = max(instructions.lowerBound, word * 64), last = min(instructions.upperBound, word * 64 + 64) - 1
                let mask = (UInt64.max << UInt64(first % 64)) & (UInt64.max >> UInt64(63 - last % 64))
                bits[offset + word] &= ~mask
            }
        }
        for instruction in instructions where runs[instruction].tried <= places.upperBound {
            runs[instruction].tried = places.upperBound + 1
        }
    }

    /// The last run of a loop, if the place is inside it.
    func run(of instruction: Int, at place: Int) -> Run? {
        let run = runs[instruction]
        return run.start <= place && place <= run.end ? run : nil
    }

    mutating func setRun(of instruction: Int, _ start: Int, _ end: Int) {
        runs[instruction] = Run(start: start, end: end, tried: end + 1)
    }

    /// A loop's way on from this place is being tried, those further on have been.
    mutating func lower(_ instruction: Int, to place: Int) {
        if runs[instruction].end >= place, runs[instruction].tried > place { runs[instruction].tried = place }
    }
}
