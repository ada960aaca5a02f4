/// A glob or a regular expression that must match a whole name, in time proportional to the name's length.
///
/// It is run as a set of states that advance together (Thompson's construction), never by backtracking, so that no
/// pattern of a recipe can make a run hang. Regular expressions know literals, `.`, sets, `\d \w \s` and their
/// opposites, groups, `|`, `* + ? {m,n}`, `^` and `$`; nothing that needs memory (back references, look-around).
struct Pattern: Sendable {
    /// Why a pattern cannot be used, as the end of a sentence.
    struct Failure: Error { var why: String }

    fileprivate enum Instruction {
        case one(ScalarSet)
        /// Continue at both.
        case split(Int, Int)
        case jump(Int)
        case atStart
        case atEnd
        case match
    }

    private var program: [Instruction] = []

    static let maximumLength = 1000
    private static let maximumInstructionCount = 10_000

    init(regex text: some StringProtocol) throws(Failure) {
        var parser = try PatternParser(text)
        try self.init(parser.regex())
    }

    init(glob text: some StringProtocol) throws(Failure) {
        var parser = try PatternParser(text)
        try self.init(parser.glob())
    }

    private init(_ tree: PatternTree) throws(Failure) {
        try emit(tree)
        try append(.match)
    }

    func matches(_ name: String) -> Bool {
        let scalars = Array(name.unicodeScalars)
        var current = StateSet(count: program.count)
        var next = StateSet(count: program.count)
        follow(0, into: &current, isStart: true, isEnd: scalars.isEmpty)
        for (index, scalar) in scalars.enumerated() {
            next.removeAll()
            for state in current.members {
                if case .one(let set) = program[state], set.contains(scalar) {
                    follow(state + 1, into: &next, isStart: false, isEnd: index + 1 == scalars.count)
                }
            }
            if next.members.isEmpty { return false }
            swap(&current, &next)
        }
        return current.contains(program.count - 1)
    }

    /// Adds a state and all that can be reached from it without reading.
    private func follow(_ state: Int, into set: inout StateSet, isStart: Bool, isEnd: Bool) {
        var waiting = [state]
        while let state = waiting.popLast() {
            guard set.insert(state) else { continue }
            switch program[state] {
            case .split(let a, let b): waiting += [b, a]
            case .jump(let target): waiting.append(target)
            case .atStart: if isStart { waiting.append(state + 1) }
            case .atEnd: if isEnd { waiting.append(state + 1) }
            case .one, .match: break
            }
        }
    }
}

/// From the tree to instructions.
extension Pattern {
    private mutating func append(_ instruction: Instruction) throws(Failure) {
        guard program.count < Pattern.maximumInstructionCount else { throw Failure(why: "is too large") }
        program.append(instruction)
    }

    private mutating func emit(_ tree: PatternTree) throws(Failure) {
        switch tree {
        case .one(let set): try append(.one(set))
        case .atStart: try append(.atStart)
        case .atEnd: try append(.atEnd)
        case .sequence(let parts): for part in parts { try emit(part) }
        case .alternatives(let branches):
            var ends: [Int] = []
            for branch in branches.dropLast() {
                let split = program.count
                try append(.split(split + 1, 0))
                try emit(branch)
                ends.append(program.count)
                try append(.jump(0))
                program[split] = .split(split + 1, program.count)
            }
            if let last = branches.last { try emit(last) }
            for end in ends { program[end] = .jump(program.count) }
        case .repeated(let part, let minimum, let maximum):
            for _ in 0..<minimum { try emit(part) }
            guard let maximum else {
                let split = program.count
                try append(.split(split + 1, 0))
                try emit(part)
                try append(.jump(split))
                program[split] = .split(split + 1, program.count)
                return
            }
            var splits: [Int] = []
            for _ in minimum..<maximum {
                splits.append(program.count)
                try append(.split(0, 0))
                try emit(part)
            }
            for split in splits { program[split] = .split(split + 1, program.count) }
        }
    }
}

/// States that are on, in the order they were switched on.
private struct StateSet {
    private(set) var members: [Int] = []
    private var isOn: [Bool]

    init(count: Int) { isOn = Array(repeating: false, count: count) }

    func contains(_ state: Int) -> Bool { isOn[state] }

    mutating func insert(_ state: Int) -> Bool {
        guard !isOn[state] else { return false }
        isOn[state] = true
        members.append(state)
        return true
    }

    mutating func removeAll() {
        for state in members { isOn[state] = false }
        members.removeAll(keepingCapacity: true)
    }
}

/// What a pattern says.
indirect enum PatternTree {
    case one(ScalarSet)
    case atStart
    case atEnd
    case sequence([PatternTree])
    case alternatives([PatternTree])
    case repeated(PatternTree, minimum: Int, maximum: Int?)
}

/// Characters, as ranges of Unicode scalars, or all but those.
struct ScalarSet: Sendable {
    var ranges: [ClosedRange<Unicode.Scalar>] = []
    var isNegated = false

    static let all = ScalarSet(isNegated: true)
    static let digits = ScalarSet(ranges: ["0"..."9"])
    static let word = ScalarSet(ranges: ["0"..."9", "a"..."z", "A"..."Z", "_"..."_"])
    static let space = ScalarSet(ranges: ["\t"..."\r", " "..." "])

    func contains(_ scalar: Unicode.Scalar) -> Bool { ranges.contains { $0.contains(scalar) } != isNegated }

    var negated: ScalarSet { ScalarSet(ranges: ranges, isNegated: !isNegated) }
}
