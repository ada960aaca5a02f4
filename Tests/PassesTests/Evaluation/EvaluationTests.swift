import Foundation
import Formats
import Models
import Passes
import Testing

/// Log-probabilities of a row, in double precision.
func logProbabilities(_ row: [Float]) -> [Double] {
    let top = Double(row.max() ?? 0)
    let sum = row.reduce(0.0) { $0 + exp(Double($1) - top) }
    return row.map { Double($0) - top - log(sum) }
}

@Suite struct EvaluationTests {
    @Test(arguments: [EvaluationProtocol.huggingFace, .llamaCpp]) func scoresAreThoseOfSingleWindows(_ protocolName: EvaluationProtocol) throws {
        let scratch = try Scratch()
        let network = try ModelFolder(in: scratch).network()
        let text = ModelFolder.text(100)
        let evaluation = try Evaluation(of: network, named: "m", text: text, context: 24, protocol: protocolName, bos: 1)
        #expect(evaluation.windows.count == 4)
        let scores = try evaluation.scores(ofWindows: 0..<4)
        for window in 0..<4 {
            var ids = Array(text.ids[window * 24..<(window + 1) * 24])
            if protocolName == .llamaCpp { ids[0] = 1 }
            let rows = try ModelFolder.logits(network, ids).map(logProbabilities)
            let first = protocolName == .llamaCpp ? 13 : 1
            let expected = (first..<24).map { -rows[$0 - 1][ids[$0]] }
            #expect(scores[window].count == expected.count)
            for (score, wanted) in zip(scores[window], expected) { #expect(abs(score.negativeLogLikelihood - wanted) < 1e-4) }
        }
    }

    @Test func comparisonWithAReference() throws {
        let scratch = try Scratch()
        let network = try ModelFolder(in: scratch).network()
        let other = try ModelFolder(in: scratch, name: "other", noise: 0.2).network()
        let text = ModelFolder.text(64)
        let evaluation = try Evaluation(
            of: network, named: "m", against: .network(other, name: "o"), text: text, context: 32, protocol: .huggingFace)
        let scores = try evaluation.scores(ofWindows: 0..<2).flatMap(\.self)
        var expected: [TokenScore.Comparison] = []
        for window in 0..<2 {
            let ids = Array(text.ids[window * 32..<(window + 1) * 32])
            let rows = try zip(ModelFolder.logits(other, ids), ModelFolder.logits(network, ids))
            for (p, q) in Array(rows).dropLast() {
                let (logP, logQ) = (logProbabilities(p), logProbabilities(q))
                expected.append(
                    TokenScore.Comparison(
                        divergence: zip(logP, logQ).reduce(0.0) { $0 + exp($1.0) * ($1.0 - $1.1) },
                        agrees: p.firstIndex(of: p.max()!) == q.firstIndex(of: q.max()!),
                        squareDifference: zip(p, q).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) } / Double(p.count)))
            }
        }
        #expect(expected.contains { $0.agrees } && expected.contains { !$0.agrees })
        for (score, wanted) in zip(scores, expected) {
            #expect(abs(score.comparison!.divergence - wanted.divergence) < 1e-4)
            #expect(score.comparison!.agrees == wanted.agrees)
            #expect(abs(score.comparison!.squareDifference - wanted.squareDifference) < 1e-3)
        }
    }

    @Test func theSummaryOfKnownScores() {
        let summary = EvaluationSummary(
            [1, 2, 3, 6].map { value in
                TokenScore(
                    negativeLogLikelihood: value,
                    comparison: TokenScore.Comparison(divergence: value / 10, agrees: value > 1, squareDifference: value * value))
            }, byteCount: 10)
        #expect(abs(summary.perplexity - exp(3)) < 1e-12)
        // Mean square 12.5, less 9, over n - 1.
        #expect(abs(summary.perplexityError - exp(3) * (3.5 / 3).squareRoot()) < 1e-12)
        #expect(abs(summary.bitsPerByte! - 12 / log(2.0) / 10) < 1e-12)
        #expect(EvaluationSummary([TokenScore(negativeLogLikelihood: 1)], byteCount: 0).bitsPerByte == nil)
        let divergence = summary.divergence!
        #expect(abs(divergence.mean - 0.3) < 1e-12 && abs(divergence.median - 0.25) < 1e-12)
        #expect(abs(divergence.percentile99 - (0.3 + 0.97 * 0.3)) < 1e-12 && divergence.maximum == 0.6)
        #expect(divergence.top1Agreement == 0.75)
        #expect(abs(divergence.logitRootMeanSquare - 12.5.squareRoot()) < 1e-12)
    }

    @Test(arguments: [2, 3]) func threadsDoNotMatter(threadCount: Int) throws {
        let scratch = try Scratch()
        let model = try ModelFolder(in: scratch)
        func scores(_ threadCount: Int) throws -> [[TokenScore]] {
            try Evaluation(
                of: try model.network(threadCount: threadCount), named: "m", text: ModelFolder.text(600), context: 200, protocol: .llamaCpp
            ).scores(ofWindows: 0..<3)
        }
        #expect(try scores(1) == scores(threadCount))
    }
}

@Suite struct EvaluationErrorTests {
    private func evaluate(
        _ model: ModelFolder, _ ids: [Int], context: Int = 16, against reference: Evaluation.Reference? = nil
    ) throws -> [[TokenScore]] {
        let evaluation = try Evaluation(
            of: try model.network(), named: "model", against: reference, text: TokenText(ids: ids, name: "ids.npy"), context: context,
            protocol: .huggingFace)
        return try evaluation.scores(ofWindows: 0..<evaluation.windows.count)
    }

    @Test func textsThatCannotBeUsedNameFileAndPosition() throws {
        let model = try ModelFolder(in: try Scratch())
        #expect(throws: EvaluationError(.emptyText, path: "ids.npy")) { try evaluate(model, []) }
        #expect(throws: EvaluationError(.textTooShort(tokens: 15, context: 16), path: "ids.npy")) {
            try evaluate(model, ModelFolder.tokens(15))
        }
        #expect(throws: EvaluationError(.forward(.contextTooLong(tokens: 513, context: 512)), path: "model")) {
            try evaluate(model, ModelFolder.tokens(600), context: 513)
        }
        #expect(throws: EvaluationError(.windowTooShort(context: 1))) { try evaluate(model, ModelFolder.tokens(20), context: 1) }
        // Also where it lies in no whole window.
        for position in [0, 5, 19] {
            for id in [-1, 97] {
                var ids = ModelFolder.tokens(20)
                ids[position] = id
                #expect(throws: EvaluationError(.tokenOutOfRange(id: id, position: position, vocabulary: 97), path: "ids.npy")) {
                    try evaluate(model, ids)
                }
            }
        }
        let error = EvaluationError(.tokenOutOfRange(id: 97, position: 5, vocabulary: 97), path: "ids.npy")
        #expect(error.description == "ids.npy: token 5 has id 97, the model's vocabulary has 97")
    }

    @Test func logitsThatAreNotNumbersNameModelWindowAndToken() throws {
        let scratch = try Scratch()
        // Weights so large that the logits of token 7 alone overflow, wherever it stands: window 2, place 4.
        let model = try ModelFolder(in: scratch)
        var ids = ModelFolder.tokens(64).map { $0 == 7 ? 8 : $0 }
        ids[36] = 7
        let hooks = Spoiler()
        let evaluation = try Evaluation(
            of: try model.network(), named: "model", text: TokenText(ids: ids, name: "ids"), context: 16, protocol: .huggingFace, hooks: hooks)
        hooks.row = 2 * 16 + 4
        #expect(throws: EvaluationError(.forward(.notFinite(layer: 0, sequence: 2, position: 4)), path: "model")) {
            try evaluation.scores(ofWindows: 0..<4)
        }
        hooks.row = 4
        #expect(throws: EvaluationError(.forward(.notFinite(layer: 0, sequence: 2, position: 4)), path: "model")) {
            try evaluation.scores(ofWindows: 2..<4)
        }
        hooks.place = .head
        #expect(throws: EvaluationError(.forward(.notFinite(layer: nil, sequence: 2, position: 4)), path: "model")) {
            try evaluation.scores(ofWindows: 2..<4)
        }
    }

    @Test func weightsThatAreNotNumbersNameTheModel() throws {
        let scratch = try Scratch()
        let name = "model.layers.1.mlp.up_proj.weight"
        let spoiled = try ModelFolder(in: scratch, spoiling: name)
        // F32 weights come straight from the file and are not searched; what they do is found.
        #expect(throws: EvaluationError(.forward(.notFinite(layer: 1, sequence: 0, position: 0)), path: "model")) {
            try evaluate(spoiled, ModelFolder.tokens(16))
        }
    }

    @Test func anEmbeddingSmallerThanTheVocabulary() throws {
        let scratch = try Scratch()
        let small = try ModelFolder(in: scratch, name: "small", embeddingRows: 90)
        #expect(throws: (any Error).self) { try evaluate(small, ModelFolder.tokens(16)) }
    }

    @Test func textFiles() throws {
        let scratch = try Scratch()
        func file(_ name: String, _ bytes: [UInt8]) throws -> String {
            try writeFile(bytes, to: scratch.path + "/" + name)
            return scratch.path + "/" + name
        }
        let good = try file("good", Array("ä\n".utf8))
        #expect(try TokenText.read([good, good]) == "ä\n\n\nä\n")
        let bad = try file("bad", Array("abcä".utf8) + [0xC3, 0x28])
        #expect(throws: EvaluationError(.notUTF8(byteOffset: 5), path: bad)) { try TokenText.read([good, bad]) }
        let cut = try file("cut", Array("ab".utf8) + [0xE2, 0x82])
        #expect(throws: EvaluationError(.notUTF8(byteOffset: 2), path: cut)) { try TokenText.read([cut]) }
        let empty = try file("empty", [])
        #expect(throws: EvaluationError(.emptyText, path: empty)) { try TokenText.read([good, empty]) }
        let missing = scratch.path + "/missing"
        #expect(throws: FormatError.self) { try TokenText.read([missing]) }
    }
}

/// Makes one row of a linear input infinite.
private final class Spoiler: ForwardHooks, @unchecked Sendable {  // set between runs
    var row = 0
    var place = LinearInput.mlpOutput

    func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws {
        guard place == self.place, layer == 0 || place == .head, row * columnCount < rows.count else { return }
        rows[row * columnCount] = .infinity
    }
}
