import Formats

/// One question: what comes before, and what may follow.
public struct ChoiceItem: Sendable, Equatable {
    /// A text that may follow.
    public struct Choice: Sendable, Equatable {
        public var ids: [Int]
        /// Bytes of its text.
        public var byteCount: Int

        public init(ids: [Int], byteCount: Int) {
            self.ids = ids
            self.byteCount = byteCount
        }
    }

    /// Ids of the context; at least one.
    public var context: [Int]
    /// Each of at least one token.
    public var choices: [Choice]
    /// Which choice is right.
    public var label: Int
    /// The line it stands in, from 1.
    public var line: Int

    public init(context: [Int], choices: [Choice], label: Int, line: Int) {
        self.context = context
        self.choices = choices
        self.label = label
        self.line = line
    }

    /// Reads a file of JSON lines `{"context": TEXT, "choices": [TEXT, ...], "label": NUMBER}`; other members are ignored.
    ///
    /// A choice follows its context as it stands: a blank between them is part of either. The ids of a choice are those of context and choice
    /// together without as many as the context has alone, blanks at the context's end counting to the choice, as in lm-eval. An
    /// empty context becomes BOS, or EOS where the model has no BOS.
    /// - Throws: `EvaluationError` naming the file and the line.
    public static func read(_ path: String, tokenizer: any TextTokenizer) throws -> [ChoiceItem] {
        let text = try TokenText.read([path])
        var items: [ChoiceItem] = []
        for (index, line) in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            guard line.contains(where: { $0 > UInt8(ascii: " ") }) else { continue }
            items.append(try item(Array(line), line: index + 1, path: path, tokenizer: tokenizer))
        }
        guard !items.isEmpty else { throw EvaluationError(.emptyText, path: path) }
        return items
    }

    private static func item(_ bytes: [UInt8], line: Int, path: String, tokenizer: any TextTokenizer) throws -> ChoiceItem {
        func wrong(_ why: String) -> EvaluationError { EvaluationError(.task(line: line, why: why), path: path) }
        let json: JSONValue
        do throws(FormatError) { json = try JSONValue(parsing: bytes) } catch { throw wrong(error.description) }
        guard let context = json["context"]?.string else { throw wrong("there is no text 'context'") }
        guard let texts = json["choices"]?.array.map({ $0.compactMap(\.string) }), !texts.isEmpty, texts.count == json["choices"]?.array?.count
        else { throw wrong("'choices' is no list of texts") }
        guard let label = json["label"]?.integer, texts.indices.contains(label) else {
            throw wrong("'label' is not a number from 0 to \(texts.count - 1)")
        }
        // Blanks at the end of the context belong to the token that follows.
        let tail = context.unicodeScalars.reversed().prefix { $0.properties.isWhitespace }.count
        let head = String(String.UnicodeScalarView(context.unicodeScalars.dropLast(tail)))
        let blanks = String(String.UnicodeScalarView(context.unicodeScalars.suffix(tail)))
        var contextIDs = head.isEmpty ? [] : try tokenizer.tokens(of: head, parsesSpecial: true)
        if contextIDs.isEmpty {
            guard let first = tokenizer.bos ?? tokenizer.eos else { throw wrong("the context is empty and the model has no BOS and no EOS") }
            contextIDs = [first]
        }
        let choices = try texts.enumerated().map { index, text in
            let ids =
                head.isEmpty
                ? try tokenizer.ids(of: blanks + text, parsesSpecial: true)
                : Array(try tokenizer.tokens(of: head + blanks + text, parsesSpecial: true).dropFirst(contextIDs.count))
            guard !ids.isEmpty else { throw wrong("choice \(index) adds no token") }
            return Choice(ids: ids, byteCount: text.utf8.count)
        }
        return ChoiceItem(context: contextIDs, choices: choices, label: label, line: line)
    }
}

/// How often the likeliest choice is the right one.
public struct ChoiceSummary: Sendable {
    public let itemCount: Int
    /// Share of items whose right choice has the largest log-likelihood.
    public let accuracy: Double
    /// The same by log-likelihood per byte of the choice's text.
    public let normalizedAccuracy: Double
    /// Standard errors: √(p (1 - p) / (n - 1)).
    public let accuracyError: Double
    public let normalizedAccuracyError: Double

    /// - Precondition: there is at least one item, and a number for each of its choices.
    public init(_ items: [ChoiceItem], logLikelihoods: [[Double]]) {
        precondition(!items.isEmpty && items.count == logLikelihoods.count, "numbers of all items")
        func share(_ value: (Double, ChoiceItem.Choice) -> Double) -> Double {
            let right = zip(items, logLikelihoods).count { item, numbers in
                let values = zip(numbers, item.choices).map(value)
                return values.firstIndex(of: values.max() ?? 0) == item.label
            }
            return Double(right) / Double(items.count)
        }
        func error(_ share: Double) -> Double {
            items.count > 1 ? (share * (1 - share) / Double(items.count - 1)).squareRoot() : 0
        }
        itemCount = items.count
        accuracy = share { number, _ in number }
        normalizedAccuracy = share { number, choice in number / Double(max(1, choice.byteCount)) }
        accuracyError = error(accuracy)
        normalizedAccuracyError = error(normalizedAccuracy)
    }
}
