import Formats
import class Foundation.FileManager
import Models
import Passes
import Testing

@Suite struct EvaluationRunTests {
    private let scratch: Scratch
    private let model: ModelFolder
    private let network: Network

    init() throws {
        scratch = try Scratch()
        model = try ModelFolder(in: scratch)
        network = try model.network()
    }

    private func evaluation(_ count: Int = 20000, context: Int = 64) throws -> Evaluation {
        try Evaluation(of: network, named: "m", text: ModelFolder.text(count), context: context, protocol: .huggingFace)
    }

    private func work() throws -> EvaluationWork {
        try EvaluationWork(directory: scratch.path + "/work", inputs: try HashedInputs(try model.source.files, threadCount: 1))
    }

    /// A progress that stops its run once a share of the tokens is done.
    private func stopping(at share: Double) -> Progress {
        let box = Holder()
        let progress = Progress { state in
            if state.phase == .evaluating || state.phase == .scoring, Double(state.done) >= share * Double(state.total) { box.progress?.cancel() }
        }
        box.progress = progress
        return progress
    }

    @Test func anInterruptedRunGoesOnAndGivesTheSame() throws {
        let evaluation = try evaluation()
        #expect(evaluation.batches.count == 3)
        let whole = try EvaluationRun(evaluation, threadCount: 1).run()
        #expect(throws: PipelineError.interrupted) {
            _ = try EvaluationRun(evaluation, work: try work(), threadCount: 1).run(progress: stopping(at: 0.6))
        }
        let resumed = try EvaluationRun(evaluation, work: try work(), threadCount: 1).run()
        #expect(resumed.freshWindowCount == evaluation.windows.count - evaluation.batches[0].count)
        #expect(resumed.scores == whole.scores)
        let again = try EvaluationRun(evaluation, work: try work(), threadCount: 1).run()
        #expect(again.freshWindowCount == 0)
        #expect(again.scores == whole.scores)
    }

    @Test func anotherEvaluationStartsAfresh() throws {
        _ = try EvaluationRun(try evaluation(1000), work: try work(), threadCount: 1).run()
        let shorter = try EvaluationRun(try evaluation(1000, context: 32), work: try work(), threadCount: 1).run()
        #expect(shorter.freshWindowCount == 31)
        let compared = try Evaluation(
            of: network, named: "m", against: .network(network, name: "m"), text: ModelFolder.text(1000), context: 64, protocol: .huggingFace)
        #expect(try EvaluationRun(compared, work: try work(), threadCount: 1).run().freshWindowCount == 15)
        let otherModel = try ModelFolder(in: scratch, name: "second", seed: 2)
        let others = try EvaluationWork(
            directory: scratch.path + "/work", inputs: try HashedInputs(try otherModel.source.files, threadCount: 1))
        #expect(try EvaluationRun(try evaluation(1000), work: others, threadCount: 1).run().freshWindowCount == 15)
    }

    @Test func tornAndDamagedRecordsAreRunAgain() throws {
        let evaluation = try evaluation()
        let whole = try EvaluationRun(evaluation, work: try work(), threadCount: 1).run()
        let name = try #require(scratchWork.first { $0.hasPrefix("evaluation-") })
        let path = scratch.path + "/work/" + name
        let bytes = try MappedFile(path: path).bytes.array
        func fresh(_ changed: [UInt8]) throws -> Int {
            try writeFile(changed, to: path)
            let result = try EvaluationRun(evaluation, work: try work(), threadCount: 1).run()
            #expect(result.scores == whole.scores)
            return result.freshWindowCount
        }
        let last = evaluation.batches[2].count
        #expect(try fresh(Array(bytes.dropLast(3))) == last)
        #expect(try EvaluationRun(evaluation, work: try work(), threadCount: 1).run().freshWindowCount == 0)
        var flipped = bytes
        flipped[bytes.count - 100] ^= 1
        #expect(try fresh(flipped) == last)
        #expect(try fresh([]) == evaluation.windows.count)
    }

    private var scratchWork: [String] { (try? FileManager.default.contentsOfDirectory(atPath: scratch.path + "/work")) ?? [] }

    @Test func twoProcessesDoNotShareAFolder() throws {
        let first = try work()
        #expect(throws: PipelineError.self) { _ = try work() }
        withExtendedLifetime(first) {}
    }

    @Test func savedLogitsGoOnToo() throws {
        let evaluation = try evaluation(20000, context: 128)
        let inputs = try HashedInputs(try model.source.files, threadCount: 1)
        func run(_ path: String, _ progress: Progress = Progress()) throws -> EvaluationRun.Result {
            try EvaluationRun(evaluation, work: try work(), savingLogitsTo: (path, "m", inputs), threadCount: 2).run(progress: progress)
        }
        let path = scratch.path + "/whole.logits"
        _ = try EvaluationRun(evaluation, savingLogitsTo: (path, "m", inputs), threadCount: 2).run()
        let other = scratch.path + "/resumed.logits"
        #expect(throws: PipelineError.interrupted) { _ = try run(other, stopping(at: 0.8)) }
        #expect(!scratch.names.contains("resumed.logits"))
        let resumed = try run(other)
        #expect(resumed.freshWindowCount > 0 && resumed.freshWindowCount < evaluation.windows.count)
        #expect(try scratch.contents("resumed.logits") == scratch.contents("whole.logits"))
        #expect(try run(other).freshWindowCount == 0)
        // The file is gone and the scores are not: its logits are computed again.
        try FileManager.default.removeItem(atPath: other)
        _ = try run(other)
        #expect(try scratch.contents("resumed.logits") == scratch.contents("whole.logits"))
    }

    @Test func choicesGoOnToo() throws {
        var items: [ChoiceItem] = []
        for index in 0..<60 {
            let ids = ModelFolder.tokens(100, seed: UInt64(index))
            items.append(
                ChoiceItem(
                    context: Array(ids[..<90]), choices: [90..<94, 94..<100].map { ChoiceItem.Choice(ids: Array(ids[$0]), byteCount: 1) },
                    label: 0, line: index + 1))
        }
        let evaluation = try ChoiceEvaluation(of: network, items: items, path: "t.jsonl")
        #expect(evaluation.batches.count == 2)
        let whole = try ChoiceRun(evaluation).run()
        #expect(throws: PipelineError.interrupted) { _ = try ChoiceRun(evaluation, work: try work()).run(progress: stopping(at: 0.9)) }
        let resumed = try ChoiceRun(evaluation, work: try work()).run()
        #expect(resumed.freshTokenCount == evaluation.tokenCount(ofItems: evaluation.batches[1]))
        #expect(resumed.logLikelihoods == whole.logLikelihoods)
    }
}

/// Lets a listener reach the progress it listens to.
private final class Holder: @unchecked Sendable {  // written once, before the run starts
    var progress: Progress?
}
