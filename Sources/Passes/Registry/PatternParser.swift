/// Reads globs and regular expressions.
struct PatternParser {
    private let scalars: [Unicode.Scalar]
    private var position = 0
    private var depth = 0

    private static let maximumDepth = 50
    private static let maximumRepeat = 1000

    init(_ text: some StringProtocol) throws(Pattern.Failure) {
        scalars = Array(text.unicodeScalars)
        guard !scalars.isEmpty else { throw Pattern.Failure(why: "is empty") }
        guard scalars.count <= Pattern.maximumLength else {
            throw Pattern.Failure(why: "is longer than \(Pattern.maximumLength) characters")
        }
    }

    /// A glob: `*` any run, `?` any one character, `[...]` one of a set, everything else itself.
    mutating func glob() throws(Pattern.Failure) -> PatternTree {
        var parts: [PatternTree] = []
        while let scalar = next() {
            switch scalar {
            case "*": parts.append(.repeated(.one(.all), minimum: 0, maximum: nil))
            case "?": parts.append(.one(.all))
            case "[": parts.append(.one(try set(negation: ["!", "^"], escapes: false)))
            default: parts.append(.one(ScalarSet(ranges: [scalar...scalar])))
            }
        }
        return .sequence(parts)
    }

    /// A regular expression.
    mutating func regex() throws(Pattern.Failure) -> PatternTree {
        let tree = try alternatives()
        guard position == scalars.count else { throw Pattern.Failure(why: "has a ')' that nothing opened") }
        return tree
    }

    private mutating func alternatives() throws(Pattern.Failure) -> PatternTree {
        var branches = [try sequence()]
        while take("|") { branches.append(try sequence()) }
        return .alternatives(branches)
    }

    private mutating func sequence() throws(Pattern.Failure) -> PatternTree {
        var parts: [PatternTree] = []
        while let scalar = peek, scalar != "|", scalar != ")" {
            let part = try atom()
            parts.append(try repeated(part))
        }
        return .sequence(parts)
    }

    private mutating func atom() throws(Pattern.Failure) -> PatternTree {
        guard let scalar = next() else { throw Pattern.Failure(why: "ends too early") }
        switch scalar {
        case ".": return .one(.all)
        case "^": return .atStart
        case "$": return .atEnd
        case "[": return .one(try set(negation: ["^"], escapes: true))
        case "(": return try group()
        case "\\": return .one(try escape())
        case "*", "+", "?", "{": throw Pattern.Failure(why: "has a '\(scalar)' with nothing before it to repeat")
        default: return .one(ScalarSet(ranges: [scalar...scalar]))
        }
    }

    private mutating func group() throws(Pattern.Failure) -> PatternTree {
        depth += 1
        defer { depth -= 1 }
        guard depth <= PatternParser.maximumDepth else { throw Pattern.Failure(why: "nests groups too deeply") }
        if take("?"), !take(":") { throw Pattern.Failure(why: "uses '(?', of which only '(?:' is supported") }
        let tree = try alternatives()
        guard take(")") else { throw Pattern.Failure(why: "has a '(' that nothing closes") }
        return tree
    }

    private mutating func repeated(_ part: PatternTree) throws(Pattern.Failure) -> PatternTree {
        guard let scalar = peek, ["*", "+", "?", "{"].contains(scalar) else { return part }
        position += 1
        let bounds: (Int, Int?)
        switch scalar {
        case "*": bounds = (0, nil)
        case "+": bounds = (1, nil)
        case "?": bounds = (0, 1)
        default: bounds = try repeatCounts()
        }
        if let again = peek, ["*", "+", "?", "{"].contains(again) {
            throw Pattern.Failure(why: "has a '\(again)' behind another repeat; a whole match needs no lazy repeats")
        }
        return .repeated(part, minimum: bounds.0, maximum: bounds.1)
    }

    /// The rest of `{m}`, `{m,}` or `{m,n}`.
    private mutating func repeatCounts() throws(Pattern.Failure) -> (Int, Int?) {
        let malformed = Pattern.Failure(why: "has a '{' that is not {m}, {m,} or {m,n} with numbers up to \(PatternParser.maximumRepeat)")
        guard let minimum = count() else { throw malformed }
        if take("}") { return (minimum, minimum) }
        guard take(",") else { throw malformed }
        if take("}") { return (minimum, nil) }
        guard let maximum = count(), maximum >= minimum, take("}") else { throw malformed }
        return (minimum, maximum)
    }

    private mutating func count() -> Int? {
        var value: Int?
        while let scalar = peek, ("0"..."9").contains(scalar) {
            position += 1
            let sum = (value ?? 0) * 10 + Int(scalar.value - 48)
            guard sum <= PatternParser.maximumRepeat else { return nil }
            value = sum
        }
        return value
    }

    private mutating func escape() throws(Pattern.Failure) -> ScalarSet {
        guard let scalar = next() else { throw Pattern.Failure(why: "ends in a '\\'") }
        switch scalar {
        case "d": return .digits
        case "D": return .digits.negated
        case "w": return .word
        case "W": return .word.negated
        case "s": return .space
        case "S": return .space.negated
        case "0"..."9", "a"..."z", "A"..."Z": throw Pattern.Failure(why: "uses '\\\(scalar)', which is not supported")
        default: return ScalarSet(ranges: [scalar...scalar])
        }
    }

    /// The rest of `[...]`. A `]` that comes first is meant literally.
    private mutating func set(negation: [Unicode.Scalar], escapes: Bool) throws(Pattern.Failure) -> ScalarSet {
        var set = ScalarSet()
        if let first = peek, negation.contains(first) {
            position += 1
            set.isNegated = true
        }
        let unclosed = Pattern.Failure(why: "has a '[' that nothing closes")
        var isFirst = true
        while true {
            guard let lower = next() else { throw unclosed }
            if lower == "]", !isFirst { return set }
            isFirst = false
            if escapes, lower == "\\" {
                let escaped = try escape()
                guard !escaped.isNegated else { throw Pattern.Failure(why: "uses a negated class inside '[...]'") }
                set.ranges += escaped.ranges
            } else if peek == "-", position + 1 < scalars.count, scalars[position + 1] != "]" {
                position += 1
                guard let upper = next() else { throw unclosed }
                guard lower <= upper else { throw Pattern.Failure(why: "has the range '\(lower)-\(upper)', which is empty") }
                set.ranges.append(lower...upper)
            } else {
                set.ranges.append(lower...lower)
            }
        }
    }

    private var peek: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    private mutating func next() -> Unicode.Scalar? {
        guard let scalar = peek else { return nil }
        position += 1
        return scalar
    }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard peek == scalar else { return false }
        position += 1
        return true
    }
}
