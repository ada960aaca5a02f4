/// A regular expression, compiled. Matching takes time in proportion to the text times the pattern, whatever either is.
///
/// The program is a list of instructions for a backtracking matcher. What bounds it: a set repeated is one instruction, and once a
/// text has cost many steps, the matcher remembers which (instruction, place) have failed and does not try them again.
struct Pattern: Sendable {
    struct Instruction: Sendable {
        enum Operation: UInt8, Sendable {
            /// Takes one code point of the set `x`.
            case set
            /// Takes from `minimum` to `maximum` code points of the set `x`, as many as can be; fewer on the way back.
            case loop
            /// The same, as few as can be.
            case lazyLoop
            /// The same as `loop`, never fewer.
            case possessiveLoop
            /// Goes on here and, should that fail, at `x`. The byte here must be in the set `y` or it goes to `x` at once.
            case fork
            /// Goes on at `x`.
            case jump
            /// What follows up to `accept` must match here (must not, when `y` is 1); takes nothing and goes on at `x`.
            case look
            /// What follows up to `accept` is matched once and for all; goes on at `x`.
            case atomic
            /// The code point before is in the set `x` (is not, when `y` is 1).
            case behind
            case lineStart, lineEnd, textStart, textEnd, lastLineEnd, wordBoundary, noWordBoundary
            case accept
        }

        var operation: Operation
        var x: Int32 = 0
        var y: Int32 = 0
        var minimum: Int32 = 0
        var maximum: Int32 = .max
    }

    private static let sizeLimit = 4000

    /// The expression as it was written.
    let source: String
    private(set) var program: [Instruction] = []
    private(set) var sets: [ScalarTable] = []
    private(set) var byteSets: [ByteSet] = []
    /// The bytes that a match can start with.
    let firstBytes: ByteSet
    private var known: [ScalarSet] = []

    /// - Throws: what is wrong with the expression, or what of it is not supported.
    init(_ source: String) throws(PatternError) {
        self.source = source
        let node = try PatternReader.parse(source)
        firstBytes = node.firstBytes
        try compile(node)
        emit(.accept)
        known = []
    }

    /// An expression that matches a text as it stands.
    init(text: String) {
        source = text
        let node = PatternNode.sequence(text.unicodeScalars.map { .set(ScalarSet($0.value)) })
        firstBytes = node.firstBytes
        for scalar in text.unicodeScalars { emit(.set, x: index(of: ScalarSet(scalar.value))) }
        emit(.accept)
        known = []
    }

    /// An expression that matches one code point of a set.
    init(_ set: ScalarSet) {
        source = "a set"
        firstBytes = PatternNode.set(set).firstBytes
        emit(.set, x: index(of: set))
        emit(.accept)
        known = []
    }

    @discardableResult
    private mutating func emit(
        _ operation: Instruction.Operation, x: Int = 0, y: Int = 0, minimum: Int = 0, maximum: Int? = nil
    ) -> Int {
        program.append(
            Instruction(
                operation: operation, x: Int32(x), y: Int32(y), minimum: Int32(minimum), maximum: maximum.map { Int32($0) } ?? .max))
        return program.count - 1
    }

    private mutating func index(of set: ScalarSet) -> Int {
        if let index = known.firstIndex(of: set) { return index }
        known.append(set)
        sets.append(ScalarTable(set))
        return sets.count - 1
    }

    private mutating func fork(before node: PatternNode) -> Int {
        byteSets.append(node.firstBytes)
        return emit(.fork, y: byteSets.count - 1)
    }

    private mutating func compile(_ node: PatternNode) throws(PatternError) {
        guard program.count < Self.sizeLimit else { throw PatternError(place: 0, why: "a pattern of more than \(Self.sizeLimit) steps") }
        switch node {
        case .empty: break
        case .set(let set): emit(.set, x: index(of: set))
        case .sequence(let nodes): for node in nodes { try compile(node) }
        case .alternation(let nodes):
            var exits: [Int] = []
            for node in nodes.dropLast() {
                let start = fork(before: node)
                try compile(node)
                exits.append(emit(.jump))
                program[start].x = Int32(program.count)
            }
            if let last = nodes.last { try compile(last) }
            for exit in exits { program[exit].x = Int32(program.count) }
        case .repetition(let node, let minimum, let maximum, let greed): try compile(node, minimum, maximum, greed)
        case .lookahead(let node, let isNegative): try compile(.look, node, y: isNegative ? 1 : 0)
        case .atomic(let node): try compile(.atomic, node)
        case .lookbehind(let set, let isNegative): emit(.behind, x: index(of: set), y: isNegative ? 1 : 0)
        case .anchor(let anchor): compile(anchor)
        }
    }

    private mutating func compile(_ operation: Instruction.Operation, _ node: PatternNode, y: Int = 0) throws(PatternError) {
        let start = emit(operation, y: y)
        try compile(node)
        emit(.accept)
        program[start].x = Int32(program.count)
    }

    private mutating func compile(_ anchor: PatternNode.Anchor) {
        let word = index(of: UnicodeTables.wordSet)
        switch anchor {
        case .lineStart: emit(.lineStart)
        case .lineEnd: emit(.lineEnd)
        case .textStart: emit(.textStart)
        case .textEnd: emit(.textEnd)
        case .lastLineEnd: emit(.lastLineEnd)
        case .wordBoundary: emit(.wordBoundary, x: word)
        case .noWordBoundary: emit(.noWordBoundary, x: word)
        }
    }

    private mutating func compile(
        _ node: PatternNode, _ minimum: Int, _ maximum: Int?, _ greed: PatternNode.Greed
    ) throws(PatternError) {
        if case .set(let set) = node {
            let operation: Instruction.Operation = greed == .greedy ? .loop : greed == .lazy ? .lazyLoop : .possessiveLoop
            emit(operation, x: index(of: set), minimum: minimum, maximum: maximum)
            return
        }
        if greed == .possessive {
            try compile(.atomic, .repetition(node, minimum: minimum, maximum: maximum, .greedy))
            return
        }
        for _ in 0..<minimum { try compile(node) }
        if let maximum {
            // Each further one is only tried after the one before.
            var forks: [Int] = []
            for _ in minimum..<maximum {
                forks.append(greed == .lazy ? lazyFork() : fork(before: node))
                try compile(node)
            }
            for fork in forks { setExit(of: fork) }
        } else {
            let start = greed == .lazy ? lazyFork() : fork(before: node)
            try compile(node)
            emit(.jump, x: start)
            setExit(of: start)
        }
    }

    /// A fork that tries what follows the repetition first: a fork whose "here" is a jump out.
    private mutating func lazyFork() -> Int {
        byteSets.append(.all)
        let start = emit(.fork, y: byteSets.count - 1)
        emit(.jump)
        program[start].x = Int32(program.count)
        return start
    }

    private mutating func setExit(of fork: Int) {
        if program[fork + 1].operation == .jump, program[fork].x == Int32(fork + 2), byteSets[Int(program[fork].y)].isAll {
            program[fork + 1].x = Int32(program.count)
        } else {
            program[fork].x = Int32(program.count)
        }
    }
}
