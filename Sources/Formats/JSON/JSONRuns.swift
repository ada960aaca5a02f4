/// A large array or object, cut between its members so that json-c gets a few at a time: its tree takes ten times the text,
/// and thus never exists for more than about `JSONRuns.byteCount` bytes of it.
struct JSONRuns {
    enum Part {
        /// Members with the commas between them, none of them cut itself.
        case run(Range<Int>)
        /// A large member; the key is empty in an array.
        case member(key: String, JSONRuns)
    }

    static let byteCount = 1 << 16

    let isObject: Bool
    var parts: [Part] = []
}

/// Cuts one array or object while the scanner walks over it.
struct JSONCutter {
    private let byteCount: Int
    private var runs: JSONRuns
    /// Where the members start that are in no part yet, and where the current one does.
    private var runStart: Int
    private var memberStart: Int
    /// Whether the current member is a part of its own.
    private var isCut = false

    /// - Parameter start: after the opening bracket.
    init(isObject: Bool, start: Int, byteCount: Int) {
        self.byteCount = byteCount
        runs = JSONRuns(isObject: isObject)
        (runStart, memberStart) = (start, start)
    }

    /// The current member ends at a comma.
    mutating func comma(at position: Int) {
        if isCut || position - runStart >= byteCount {
            if !isCut { runs.parts.append(.run(runStart..<position)) }
            isCut = false
            runStart = position + 1
        }
        memberStart = position + 1
    }

    /// The current member was itself cut.
    mutating func add(_ member: JSONRuns, key: String) {
        if memberStart > runStart { runs.parts.append(.run(runStart..<memberStart - 1)) }
        runs.parts.append(.member(key: key, member))
        isCut = true
    }

    /// The closing bracket stands at `position`.
    /// - Returns: the parts; `nil` for an array or object that is small enough to stay whole.
    mutating func close(at position: Int) -> JSONRuns? {
        guard !runs.parts.isEmpty else { return nil }
        if !isCut { runs.parts.append(.run(runStart..<position)) }
        return runs
    }
}
