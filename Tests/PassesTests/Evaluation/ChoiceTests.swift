import Formats
import Models
import Passes
import Testing

/// Words of letters: a token for each letter (its place in the alphabet plus 10), one for " " with a letter (plus 40), 5 for a lone
/// blank and 6 for a line break.
private struct LetterTokenizer: TextTokenizer {
    var vocabularyCount = 97
    var bos: Int? = 1
    var eos: Int? = 2
    var addsBOS = false

    func ids(of text: String, parsesSpecial: Bool) throws -> [Int] {
        var ids: [Int] = []
        var isAfterBlank = false
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: " "):
                if isAfterBlank { ids.append(5) }
                isAfterBlank = true
            case UInt8(ascii: "\n"):
                ids.append(6)
            default:
                ids.append(Int(byte) - 97 + (isAfterBlank ? 40 : 10))
                isAfterBlank = false
            }
        }
        return isAfterBlank ? ids + [5] : ids
    }

    func byteCount(of ids: [Int]) -> Int { ids.reduce(0) { $0 + ($1 < 5 ? 0 : $1 >= 40 ? 2 : 1) } }
}

@Suite struct ChoiceTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func read(_ text: String, _ tokenizer: LetterTokenizer = LetterTokenizer()) throws -> [ChoiceItem] {
        try writeFile(Array(text.utf8), to: scratch.path + "/tasks.jsonl")
        return try ChoiceItem.read(scratch.path + "/tasks.jsonl", tokenizer: tokenizer)
    }

    @Test func whereContextEndsAndChoiceBegins() throws {
        let items = try read(
            """
            {"context": "ab", "choices": [" c", "cd"], "label": 1, "more": 1}

            {"context": "ab ", "choices": ["c"], "label": 0}
            {"context": "", "choices": ["cd"], "label": 0}
            {"context": " ", "choices": ["cd"], "label": 0}
            """)
        #expect(
            items == [
                ChoiceItem(
                    context: [10, 11], choices: [.init(ids: [42], byteCount: 2), .init(ids: [12, 13], byteCount: 2)], label: 1, line: 1),
                // The blank belongs to what follows it, and counts for the context's bytes.
                ChoiceItem(context: [10, 11], choices: [.init(ids: [42], byteCount: 1)], label: 0, line: 3),
                ChoiceItem(context: [1], choices: [.init(ids: [12, 13], byteCount: 2)], label: 0, line: 4),
                ChoiceItem(context: [1], choices: [.init(ids: [42, 13], byteCount: 2)], label: 0, line: 5),
            ])
        let withBOS = try read(#"{"context": "ab", "choices": [" c"], "label": 0}"#, LetterTokenizer(addsBOS: true))
        #expect(withBOS[0].context == [1, 10, 11] && withBOS[0].choices[0].ids == [42])
    }

    @Test(arguments: [
        ("{", "JSON"), (#"{"choices": ["a"], "label": 0}"#, "'context'"), (#"{"context": "a", "label": 0}"#, "'choices'"),
        (#"{"context": "a", "choices": [], "label": 0}"#, "'choices'"), (#"{"context": "a", "choices": ["b", 1], "label": 0}"#, "'choices'"),
        (#"{"context": "a", "choices": ["b"], "label": 1}"#, "0 to 0"), (#"{"context": "a", "choices": ["b"], "label": -1}"#, "0 to 0"),
        (#"{"context": "a", "choices": ["b"], "label": "0"}"#, "0 to 0"), (#"{"context": "a", "choices": ["b", ""], "label": 0}"#, "choice 1"),
        ("[]", "'context'"),
    ])
    func linesThatAreNoItems(line: String, why: String) throws {
        do {
            _ = try read("{\"context\": \"a\", \"choices\": [\"b\"], \"label\": 0}\n" + line)
            Issue.record("read: \(line)")
        } catch let error as EvaluationError {
            #expect(error.description.hasPrefix(scratch.path + "/tasks.jsonl: line 2: "))
            #expect(error.description.contains(why), "\(error)")
        }
    }

    @Test func emptyFilesAndOtherBytes() throws {
        #expect(throws: EvaluationError(.emptyText, path: scratch.path + "/tasks.jsonl")) { try read("\n \n") }
        try writeFile([0x7B, 0xFF], to: scratch.path + "/bytes")
        #expect(throws: EvaluationError(.notUTF8(byteOffset: 1), path: scratch.path + "/bytes")) {
            try ChoiceItem.read(scratch.path + "/bytes", tokenizer: LetterTokenizer())
        }
    }

    @Test func likelihoodsAreThoseOfWholeSequences() throws {
        let network = try ModelFolder(in: scratch).network()
        let shared = ModelFolder.tokens(20, seed: 3)
        var items: [ChoiceItem] = []
        for (index, lengths) in [[1, 1, 1], [3, 1, 7], [2], [5, 5]].enumerated() {
            let context = index % 2 == 0 ? shared : ModelFolder.tokens(3 + 9 * index, seed: UInt64(index))
            items.append(
                ChoiceItem(
                    context: context,
                    choices: lengths.enumerated().map {
                        .init(ids: ModelFolder.tokens($1, seed: UInt64(100 + 10 * index + $0)), byteCount: 2 * $1)
                    }, label: 0, line: index + 1))
        }
        let evaluation = try ChoiceEvaluation(of: network, items: items, path: "t")
        #expect(evaluation.batches == [0..<4])
        let found = try evaluation.logLikelihoods(ofItems: 0..<4)
        for (item, numbers) in zip(items, found) {
            for (choice, number) in zip(item.choices, numbers) {
                let rows = try ModelFolder.logits(network, item.context + choice.ids).map(logProbabilities)
                let expected = choice.ids.enumerated().reduce(0.0) { $0 + rows[item.context.count - 1 + $1.offset][$1.element] }
                #expect(abs(number - expected) < 1e-4)
            }
        }
    }

    @Test func accuracyAndAccuracyPerByte() {
        func item(_ byteCounts: [Int], _ label: Int) -> ChoiceItem {
            ChoiceItem(context: [1], choices: byteCounts.map { .init(ids: [1], byteCount: $0) }, label: label, line: 1)
        }
        let summary = ChoiceSummary(
            [item([1, 10], 0), item([1, 10], 1), item([2, 2], 1), item([4, 4], 0)],
            logLikelihoods: [[-2, -3], [-2, -3], [-5, -4], [-5, -5]])
        #expect(summary.accuracy == 0.75)
        #expect(summary.normalizedAccuracy == 0.75)
        #expect(abs(summary.accuracyError - 0.25) < 1e-12)
        let second = ChoiceSummary([item([1, 10], 1)], logLikelihoods: [[-2, -3]])
        #expect(second.accuracy == 0 && second.normalizedAccuracy == 1 && second.accuracyError == 0)
    }

    @Test func itemsThatDoNotFitTheModel() throws {
        let network = try ModelFolder(in: scratch).network()
        func error(_ context: [Int], _ choice: [Int]) -> String? {
            do throws(EvaluationError) {
                _ = try ChoiceEvaluation(
                    of: network, items: [ChoiceItem(context: context, choices: [.init(ids: choice, byteCount: 1)], label: 0, line: 4)], path: "t")
            } catch { return error.description }
            return nil
        }
        #expect(error([1], [97]) == "t: line 4: token 97 is outside the model's vocabulary of 97")
        #expect(error(ModelFolder.tokens(510), [1, 1]) == nil)
        #expect(error(ModelFolder.tokens(510), [1, 1, 1])?.hasPrefix("t: line 4: 513 tokens") == true)
    }
}
