import Formats

/// `pre_tokenizer` of `tokenizer.json` as a list of steps: how a text is cut into the pieces that the model sees one by one.
struct PreTokenization: Sendable {
    /// What becomes of the matches of a pattern.
    enum Behavior: String, Sendable {
        case removed = "Removed", isolated = "Isolated", mergedWithPrevious = "MergedWithPrevious"
        case mergedWithNext = "MergedWithNext", contiguous = "Contiguous"
    }

    enum PrefixScheme: String, Sendable {
        case always, first, never
    }

    enum Step: Sendable {
        case split(Pattern, Behavior, isInverted: Bool)
        /// A leading space where there is none.
        case prefixSpace
        /// Spaces become a character, which the scheme also puts before the text.
        case metaspace([UInt8], PrefixScheme)
        /// Every byte becomes a character of GPT-2's alphabet.
        case byteAlphabet
        /// Pieces of a fixed number of code points.
        case fixedLength(Int)
    }

    private(set) var steps: [Step] = []
    /// Whether the model's pieces are bytes that stand for characters of GPT-2's alphabet.
    private(set) var endsInBytes = false

    static let gpt2Pattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    /// - Parameter part: `pre_tokenizer`; `nil` leaves texts whole.
    init(_ part: TokenizerPart?) throws(ModelError) {
        var growth = 1
        for part in try part?.steps("pretokenizers") ?? [] {
            for step in try Self.read(part) {
                if case .byteAlphabet = step { growth = try part.grown(growth, by: 2) }
                if case .metaspace(let replacement, _) = step { growth = try part.grown(growth, by: replacement.count) }
                steps.append(step)
            }
        }
        if case .byteAlphabet? = steps.last {
            steps.removeLast()
            endsInBytes = true
        }
    }

    private static func read(_ part: TokenizerPart) throws(ModelError) -> [Step] {
        func split(_ pattern: String, _ behavior: Behavior) throws(ModelError) -> Step {
            do throws(PatternError) { return .split(try Pattern(pattern), behavior, isInverted: false) } catch {
                throw part.invalid("'\(printable(pattern))'", expected: "an expression without \(error.why)")
            }
        }
        let type = try part.type
        switch type {
        case "Split":
            return [
                .split(try part.pattern("pattern"), try behavior(part, nil), isInverted: try part.bool("invert", default: false))
            ]
        case "ByteLevel":
            var steps: [Step] = []
            if try part.bool("add_prefix_space", default: true) { steps.append(.prefixSpace) }
            if try part.bool("use_regex", default: true) { steps.append(try split(gpt2Pattern, .isolated)) }
            return steps + [.byteAlphabet]
        case "Digits":
            return [try split(#"\p{N}"#, try part.bool("individual_digits", default: false) ? .isolated : .contiguous)]
        case "Punctuation": return [.split(Self.punctuation, try behavior(part, .isolated), isInverted: false)]
        case "WhitespaceSplit": return [try split(#"\s"#, .removed)]
        case "Whitespace":
            guard case .split(let pattern, _, _) = try split(#"\w+|[^\w\s]+"#, .removed) else { return [] }
            return [.split(pattern, .removed, isInverted: true)]
        case "BertPreTokenizer": return [try split(#"\s"#, .removed), .split(Self.punctuation, .isolated, isInverted: false)]
        case "CharDelimiterSplit":
            return [.split(Pattern(text: try part.string("delimiter")), .removed, isInverted: false)]
        case "FixedLength": return [.fixedLength(try part.integer("length", in: 1...1_000_000))]
        case "Metaspace": return try metaspace(part)
        default: throw part.unknown(type, "pre-tokenizer")
        }
    }

    private static let punctuation = Pattern(UnicodeTables.punctuationSet)

    private static func behavior(_ part: TokenizerPart, _ missing: Behavior?) throws(ModelError) -> Behavior {
        if let missing, part["behavior"] == nil { return missing }
        let name = try part.required("behavior")
        guard let behavior = Behavior(rawValue: try name.string) else {
            throw name.invalid(name.value.kind, expected: "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous")
        }
        return behavior
    }

    private static func metaspace(_ part: TokenizerPart) throws(ModelError) -> [Step] {
        let replacement = try part.string("replacement")
        guard replacement.unicodeScalars.count == 1 else { throw part.invalid("a replacement of other length", expected: "one character") }
        var scheme = PrefixScheme.always
        if let name = part["prepend_scheme"] {
            guard let known = PrefixScheme(rawValue: try name.string) else {
                throw name.invalid(name.value.kind, expected: "always, first or never")
            }
            scheme = known
        }
        // The older key says no more than "always" or "never".
        if part["prepend_scheme"] == nil, try !part.bool("add_prefix_space", default: true) { scheme = .never }
        var steps: [Step] = [.metaspace(Array(replacement.utf8), scheme)]
        if try part.bool("split", default: true) {
            steps.append(.split(Pattern(text: replacement), .mergedWithNext, isInverted: false))
        }
        return steps
    }
}
