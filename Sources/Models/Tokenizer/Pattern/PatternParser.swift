/// What is wrong with a regular expression, and after how many of its characters.
struct PatternError: Error {
    var place: Int
    var why: String
}

/// Reads a regular expression as Oniguruma reads it with Ruby's syntax, which is what the `tokenizers` package uses: `^` and `$`
/// are ends of lines, `{n,m}+` repeats the repetition while `?+`, `*+`, `++` are possessive, classes nest.
///
/// Not read: back references, conditions, recursion, and look-behind at more than one character.
struct PatternReader {
    static let depthLimit = 64
    private static let countLimit = 1000

    private let scalars: [Unicode.Scalar]
    private var place = 0
    var depth = 0
    var ignoresCase = false

    private init(_ pattern: String) { scalars = Array(pattern.unicodeScalars) }

    static func parse(_ pattern: String) throws(PatternError) -> PatternNode {
        var reader = PatternReader(pattern)
        let node = try reader.alternation()
        if reader.peek() != nil { throw reader.error("a ')' without '('") }
        return node
    }

    func error(_ why: String) -> PatternError { PatternError(place: place, why: why) }

    func peek(_ distance: Int = 0) -> Unicode.Scalar? { place + distance < scalars.count ? scalars[place + distance] : nil }

    mutating func next() -> Unicode.Scalar? {
        guard let scalar = peek() else { return nil }
        place += 1
        return scalar
    }

    /// Goes past a text if it comes next.
    mutating func take(_ text: String) -> Bool {
        let expected = Array(text.unicodeScalars)
        guard scalars[place...].starts(with: expected) else { return false }
        place += expected.count
        return true
    }

    private mutating func alternation() throws(PatternError) -> PatternNode {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.depthLimit else { throw error("groups nest deeper than \(Self.depthLimit)") }
        let outerCase = ignoresCase
        defer { ignoresCase = outerCase }
        var branches: [PatternNode] = []
        var sequence: [PatternNode] = []
        while let scalar = peek(), scalar != ")" {
            place += 1
            if scalar == "|" {
                branches.append(Self.joined(sequence))
                sequence = []
            } else {
                let node = try element(scalar)
                sequence.append(try quantified(node))
            }
        }
        branches.append(Self.joined(sequence))
        return branches.count == 1 ? branches[0] : .alternation(branches)
    }

    private static func joined(_ nodes: [PatternNode]) -> PatternNode {
        nodes.isEmpty ? .empty : nodes.count == 1 ? nodes[0] : .sequence(nodes)
    }

    private mutating func element(_ scalar: Unicode.Scalar) throws(PatternError) -> PatternNode {
        switch scalar {
        case "(": return try group()
        case "[": return .set(try characterClass())
        case ".": return .set(ScalarSet(0x0A).inverted)
        case "^": return .anchor(.lineStart)
        case "$": return .anchor(.lineEnd)
        case "*", "+", "?": throw error("'\(scalar)' with nothing to repeat")
        case "\\": return try escape()
        default: return literal(scalar.value)
        }
    }

    private func literal(_ scalar: UInt32) -> PatternNode {
        let set = ScalarSet(scalar)
        return .set(ignoresCase ? set.foldingCase : set)
    }

    private mutating func escape() throws(PatternError) -> PatternNode {
        guard let scalar = next() else { throw error("a pattern that ends in '\\'") }
        switch scalar {
        case "A": return .anchor(.textStart)
        case "z": return .anchor(.textEnd)
        case "Z": return .anchor(.lastLineEnd)
        case "b": return .anchor(.wordBoundary)
        case "B": return .anchor(.noWordBoundary)
        case "R":
            let breaks = ScalarSet([0x0A...0x0D, 0x85...0x85, 0x2028...0x2029])
            return .atomic(.alternation([.sequence([.set(ScalarSet(0x0D)), .set(ScalarSet(0x0A))]), .set(breaks)]))
        case "1"..."9", "k", "g", "G", "K", "X", "y", "Y", "O", "N": throw error("'\\\(scalar)', which is not supported")
        default:
            if let set = try setEscape(scalar) { return .set(set) }
            return literal(try literalEscape(scalar))
        }
    }

    /// Escapes that stand for one character.
    mutating func literalEscape(_ scalar: Unicode.Scalar) throws(PatternError) -> UInt32 {
        switch scalar {
        case "n": return 0x0A
        case "t": return 0x09
        case "r": return 0x0D
        case "f": return 0x0C
        case "v": return 0x0B
        case "a": return 0x07
        case "e": return 0x1B
        case "0": return 0
        case "x": return try take("{") ? hexadecimal(1...8, closing: true) : hexadecimal(1...2, closing: false)
        case "u": return try hexadecimal(4...4, closing: false)
        default: return scalar.value
        }
    }

    private mutating func hexadecimal(_ count: ClosedRange<Int>, closing: Bool) throws(PatternError) -> UInt32 {
        var value: UInt32 = 0, digits = 0
        while digits < count.upperBound, let digit = peek().flatMap({ Character($0).hexDigitValue }) {
            value = value << 4 | UInt32(digit)
            digits += 1
            place += 1
        }
        guard count.contains(digits), Unicode.Scalar(value) != nil, !closing || take("}") else {
            throw error("a code point that is none")
        }
        return value
    }

    private mutating func group() throws(PatternError) -> PatternNode {
        let outerCase = ignoresCase
        var make: (PatternNode) -> PatternNode = { $0 }
        var behind: Bool?
        if take("?") {
            if take(":") {
            } else if take("=") {
                make = { .lookahead($0, isNegative: false) }
            } else if take("!") {
                make = { .lookahead($0, isNegative: true) }
            } else if take(">") {
                make = { .atomic($0) }
            } else if take("<=") {
                behind = false
            } else if take("<!") {
                behind = true
            } else if take("<") {
                while let letter = next(), letter != ">" { continue }
            } else if take("#") {
                while let letter = next(), letter != ")" { continue }
                return .empty
            } else {
                // `(?i)` holds to the end of the group around it, and takes its alternatives in.
                if try options() { return try alternation() }
            }
        }
        let inner = try alternation()
        ignoresCase = outerCase
        guard take(")") else { throw error("a '(' without ')'") }
        if let behind {
            guard case .set(let set) = inner else { throw error("a look-behind at more than one character") }
            return .lookbehind(set, isNegative: behind)
        }
        return make(inner)
    }

    /// `(?i:` and `(?i)`. - Returns: whether the group ended at once.
    private mutating func options() throws(PatternError) -> Bool {
        var isOn = true
        while let letter = next() {
            switch letter {
            case "-": isOn = false
            case "i": ignoresCase = isOn
            case "u": break
            case ":": return false
            case ")": return true
            default: throw error("the option '\(letter)', which is not supported")
            }
        }
        throw error("a '(' without ')'")
    }

    private mutating func quantified(_ node: PatternNode) throws(PatternError) -> PatternNode {
        var node = node
        while let scalar = peek() {
            let minimum: Int, maximum: Int?
            var greed = PatternNode.Greed.greedy
            switch scalar {
            case "*": (minimum, maximum) = (0, nil)
            case "+": (minimum, maximum) = (1, nil)
            case "?": (minimum, maximum) = (0, 1)
            case "{":
                guard let interval = try interval() else { return node }
                (minimum, maximum) = interval
                // `{n}?` makes the whole optional, it is not lazy.
                if minimum != maximum, take("?") { greed = .lazy }
                node = try repeated(node, minimum, maximum, greed)
                continue
            default: return node
            }
            place += 1
            if take("?") { greed = .lazy } else if take("+") { greed = .possessive }
            node = try repeated(node, minimum, maximum, greed)
        }
        return node
    }

    private func repeated(
        _ node: PatternNode, _ minimum: Int, _ maximum: Int?, _ greed: PatternNode.Greed
    ) throws(PatternError) -> PatternNode {
        if node.isNullable, maximum != 1 { throw error("a repetition of what can be empty") }
        return .repetition(node, minimum: minimum, maximum: maximum, greed)
    }

    /// `{n}`, `{n,}`, `{,m}`, `{n,m}`; anything else in braces is text.
    private mutating func interval() throws(PatternError) -> (Int, Int?)? {
        let start = place
        place += 1
        let low = number()
        let hasComma = take(",")
        let high = hasComma ? number() : low
        guard take("}"), low != nil || high != nil else {
            place = start
            return nil
        }
        guard (low ?? 0) <= Self.countLimit, (high ?? 0) <= Self.countLimit else {
            throw error("a repetition of more than \(Self.countLimit)")
        }
        guard low ?? 0 <= high ?? .max else { throw error("a repetition that runs backwards") }
        return (low ?? 0, high)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let digit = peek(), ("0"..."9").contains(digit) {
            value = min((value ?? 0) * 10 + Int(digit.value - 0x30), 1_000_000)
            place += 1
        }
        return value
    }
}
