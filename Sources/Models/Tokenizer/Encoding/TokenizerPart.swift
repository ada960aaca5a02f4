import Formats

/// A part of `tokenizer.json` together with where it stands, so that errors name the key.
struct TokenizerPart {
    let value: JSONValue
    let key: String
    let path: String?

    init(_ value: JSONValue, key: String, path: String?) {
        self.value = value
        self.key = key
        self.path = path
    }

    private func name(_ child: String) -> String { key.isEmpty ? child : "\(key).\(child)" }

    func invalid(_ found: String, expected: String) -> ModelError {
        ModelError(.invalidKey(key: key, found: found, expected: expected), path: path)
    }

    /// A member; `null` and absent are the same.
    subscript(_ child: String) -> TokenizerPart? {
        guard let member = value[child], !member.isNull else { return nil }
        return TokenizerPart(member, key: name(child), path: path)
    }

    func required(_ child: String) throws(ModelError) -> TokenizerPart {
        guard let part = self[child] else { throw ModelError(.missingKey(key: name(child)), path: path) }
        return part
    }

    var string: String {
        get throws(ModelError) {
            guard let string = value.string else { throw invalid(value.kind, expected: "a string") }
            return string
        }
    }

    var elements: [TokenizerPart] {
        get throws(ModelError) {
            guard let array = value.array else { throw invalid(value.kind, expected: "an array") }
            return array.enumerated().map { TokenizerPart($1, key: "\(key)[\($0)]", path: path) }
        }
    }

    func string(_ child: String) throws(ModelError) -> String { try required(child).string }

    func string(_ child: String, default text: String) throws(ModelError) -> String { try self[child]?.string ?? text }

    func bool(_ child: String, default flag: Bool) throws(ModelError) -> Bool {
        guard let part = self[child] else { return flag }
        guard let bool = part.value.bool else { throw part.invalid(part.value.kind, expected: "true or false") }
        return bool
    }

    func integer(_ child: String, in range: ClosedRange<Int>) throws(ModelError) -> Int {
        let part = try required(child)
        guard let integer = part.value.integer, range.contains(integer) else {
            throw part.invalid(part.value.kind, expected: "an integer from \(range.lowerBound) to \(range.upperBound)")
        }
        return integer
    }

    /// `type`, for parts that come in kinds.
    var type: String { get throws(ModelError) { try string("type") } }

    func unknown(_ type: String, _ what: String) -> ModelError {
        ModelError(.unsupportedTokenizer(what: "\(key) is the \(what) '\(printable(type))', which is not known here"), path: path)
    }

    /// The steps of a `Sequence`, also nested, or the part itself.
    func steps(_ member: String, depth: Int = 0) throws(ModelError) -> [TokenizerPart] {
        guard try type == "Sequence" else { return [self] }
        guard depth < 16 else { throw invalid("sequences in sequences", expected: "at most 16 of them") }
        var steps: [TokenizerPart] = []
        for step in try required(member).elements { steps += try step.steps(member, depth: depth + 1) }
        // They run inside each other; real tokenizers have ten at most.
        guard steps.count <= 64 else { throw invalid("\(steps.count) steps", expected: "at most 64") }
        return steps
    }

    /// How many bytes a chain of steps may make of one, when this step may make `factor` of one.
    /// - Throws: an error past 512: steps that double a text fill any memory, and real ones make a handful of bytes.
    func grown(_ growth: Int, by factor: Int) throws(ModelError) -> Int {
        let (product, overflow) = growth.multipliedReportingOverflow(by: max(1, factor))
        guard !overflow, product <= 512 else { throw invalid("a step after which a byte may have become \(product)", expected: "at most 512") }
        return product
    }

    /// `{"Regex": "..."}` or `{"String": "..."}`.
    func pattern(_ child: String) throws(ModelError) -> Pattern {
        let part = try required(child)
        if let text = part["String"] { return Pattern(text: try text.string) }
        let regex = try part.required("Regex")
        do throws(PatternError) { return try Pattern(regex.value.string ?? "") } catch {
            throw regex.invalid("'\(printable(regex.value.string ?? "", limit: 200))'", expected: "an expression without \(error.why) (at character \(error.place))")
        }
    }

}
