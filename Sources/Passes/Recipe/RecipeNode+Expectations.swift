/// Reading a node as what must stand there. `what` names it in the message: `'seed'`, `option 'group' of pass 'quantize'`.
extension RecipeNode {
    func unexpected(_ what: String, expected: String) -> RecipeError {
        RecipeError("\(what) is \(found), expected \(expected)", at: location)
    }

    func boolean(_ what: String) throws(RecipeError) -> Bool {
        guard case .boolean(let flag) = value else { throw unexpected(what, expected: "true or false") }
        return flag
    }

    func integer(_ what: String, in range: ClosedRange<Int>) throws(RecipeError) -> Int {
        guard case .integer(let integer) = value, range.contains(integer) else {
            throw unexpected(what, expected: "an integer \(words(range))")
        }
        return integer
    }

    func number(_ what: String, in range: ClosedRange<Double>) throws(RecipeError) -> Double {
        let number: Double? =
            switch value {
            case .integer(let integer): Double(integer)
            case .number(let number): number
            default: nil
            }
        guard let number, range.contains(number) else {
            throw unexpected(what, expected: "a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// Text that is not empty.
    func text(_ what: String) throws(RecipeError) -> String {
        guard case .text(let text) = value else { throw unexpected(what, expected: "text") }
        guard !text.isEmpty else { throw unexpected(what, expected: "text that is not empty") }
        return text
    }

    func choice(_ what: String, of choices: [String]) throws(RecipeError) -> String {
        guard case .text(let text) = value else { throw unexpected(what, expected: either(choices)) }
        guard choices.contains(text) else {
            throw RecipeError("\(what) is '\(text)', expected \(either(choices))", at: location, word: text, known: choices)
        }
        return text
    }

    func sequence(_ what: String) throws(RecipeError) -> [RecipeNode] {
        guard case .sequence(let elements) = value else { throw unexpected(what, expected: "a list") }
        return elements
    }

    /// A list, or one element that stands for a list of one.
    var oneOrMore: [RecipeNode] {
        if case .sequence(let elements) = value { elements } else { [self] }
    }

    /// A mapping whose keys are all in `keys`.
    func mapping(_ what: String, keys: [String]) throws(RecipeError) -> [Entry] {
        guard case .mapping(let entries) = value else { throw unexpected(what, expected: "a mapping") }
        for entry in entries where !keys.contains(entry.key) {
            throw RecipeError(
                "unknown key '\(entry.key)' in \(what), expected \(either(keys))", at: entry.keyLocation, word: entry.key,
                known: keys)
        }
        return entries
    }

    /// The value of a key that must be there.
    func required(_ key: String, in what: String) throws(RecipeError) -> RecipeNode {
        guard let node = self[key] else { throw RecipeError("'\(key)' is missing in \(what)", at: location) }
        return node
    }

    var isNull: Bool { value == .null }
}

/// `a, b or c`.
func either(_ words: [String]) -> String {
    guard let last = words.last, words.count > 1 else { return words.first ?? "nothing" }
    return words.dropLast().joined(separator: ", ") + " or " + last
}

/// `from 1 to 8`, with open ends left out.
func words(_ range: ClosedRange<Int>) -> String {
    switch (range.lowerBound, range.upperBound) {
    case (.min, .max): "of 64 bits"
    case (let lower, .max): "of at least \(lower)"
    case (let lower, let upper): "from \(lower) to \(upper)"
    }
}
