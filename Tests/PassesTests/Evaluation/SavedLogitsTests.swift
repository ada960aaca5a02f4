import Foundation
import Formats
import Models
import Passes
import Testing

@Suite struct SavedLogitsTests {
    private let scratch: Scratch
    private let network: Network
    private let other: ModelFolder
    private var path: String { scratch.path + "/logits.gguf.zst" }

    init() throws {
        scratch = try Scratch()
        network = try ModelFolder(in: scratch).network()
        other = try ModelFolder(in: scratch, name: "other", noise: 0.1)
    }

    private func evaluation(
        _ reference: Evaluation.Reference?, of model: Network? = nil, ids: [Int] = ModelFolder.tokens(700), context: Int = 64,
        protocol protocolName: EvaluationProtocol = .llamaCpp
    ) throws -> Evaluation {
        try Evaluation(
            of: model ?? network, named: "m", against: reference, text: TokenText(ids: ids, name: "ids"), context: context,
            protocol: protocolName)
    }

    private func save(_ evaluation: Evaluation, threadCount: Int = 2) throws -> EvaluationRun.Result {
        let inputs = try HashedInputs(try other.source.files, threadCount: 1)
        return try EvaluationRun(
            evaluation, savingLogitsTo: (path, "other", inputs), threadCount: threadCount
        ).run()
    }

    private func saved() throws -> SavedLogits { try SavedLogits(try openTensorSource(at: path), path: path) }

    @Test func theyStandForTheReference() throws {
        let reference = Evaluation.Reference.network(try other.network(), name: "o")
        let direct = try save(try evaluation(reference)).scores.flatMap(\.self)
        let reused = try EvaluationRun(try evaluation(.saved(try saved())), threadCount: 2).run().scores.flatMap(\.self)
        #expect(direct.count == 10 * 31)
        #expect(direct.map(\.negativeLogLikelihood) == reused.map(\.negativeLogLikelihood))
        #expect(direct.map(\.comparison?.agrees) == reused.map(\.comparison?.agrees))
        let (a, b) = (EvaluationSummary(direct).divergence!, EvaluationSummary(reused).divergence!)
        #expect(a.mean > 0.01)
        #expect(abs(a.mean - b.mean) < 1e-3 * a.mean)
        #expect(abs(a.logitRootMeanSquare - b.logitRootMeanSquare) < 1e-3 * a.logitRootMeanSquare)
    }

    @Test func aModelSavedAloneIsLikeItself() throws {
        _ = try save(try evaluation(nil))
        let again = try EvaluationRun(try evaluation(.saved(try saved())), threadCount: 1).run().scores.flatMap(\.self)
        let divergence = EvaluationSummary(again).divergence!
        #expect(divergence.top1Agreement == 1)
        #expect(abs(divergence.maximum) < 1e-6)
        // The first windows of more.
        let fewer = try evaluation(.saved(try saved()), ids: ModelFolder.tokens(700).dropLast(300).map(\.self))
        for (one, other) in zip(try fewer.scores(ofWindows: 0..<1)[0], again) {
            #expect(abs(one.negativeLogLikelihood - other.negativeLogLikelihood) < 1e-5)
        }
    }

    @Test func theBytesDoNotDependOnTheThreads() throws {
        _ = try save(try evaluation(nil), threadCount: 1)
        let one = try scratch.contents("logits.gguf.zst")
        _ = try save(try evaluation(nil), threadCount: 4)
        #expect(try scratch.contents("logits.gguf.zst") == one)
    }

    @Test func otherEvaluationsAreRefused() throws {
        _ = try save(try evaluation(nil))
        let logits = Evaluation.Reference.saved(try saved())
        func refusal(_ body: () throws -> Evaluation) -> EvaluationError.Reason? {
            do { _ = try body() } catch { return (error as? EvaluationError)?.reason }
            return nil
        }
        #expect(refusal { try evaluation(logits) } == nil)
        var ids = ModelFolder.tokens(700)
        ids[130] = (ids[130] + 1) % 97
        #expect(
            refusal { try evaluation(logits, ids: ids) }
                == .savedLogitsDiffer(what: "token 2 of window 2", found: "\(ModelFolder.tokens(700)[130])", expected: "\(ids[130])"))
        #expect(
            refusal { try evaluation(logits, context: 32) }
                == .savedLogitsDiffer(what: "the window", found: "64 tokens", expected: "32"))
        #expect(
            refusal { try evaluation(logits, protocol: .huggingFace) }
                == .savedLogitsDiffer(what: "the protocol", found: "llama.cpp", expected: "hf"))
        #expect(
            refusal { try evaluation(logits, ids: ModelFolder.tokens(800)) }
                == .savedLogitsDiffer(what: "the number of windows", found: "10", expected: "12 (see --windows)"))
    }

    @Test func damageIsFoundAndNeverTraps() throws {
        _ = try save(try evaluation(nil, ids: ModelFolder.tokens(128)))
        let whole = try scratch.contents("logits.gguf.zst")
        var refused = 0, tried = 0
        for place in stride(from: 0, to: whole.count, by: max(1, whole.count / 150)) {
            var bytes = whole
            bytes[place] ^= 0x11
            try writeFile(bytes, to: path)
            tried += 1
            do {
                _ = try evaluation(.saved(try saved()), ids: ModelFolder.tokens(128)).scores(ofWindows: 0..<2)
            } catch is FormatError { refused += 1 } catch is EvaluationError { refused += 1 }
        }
        for count in stride(from: 0, to: whole.count, by: max(1, whole.count / 40)) {
            try writeFile(Array(whole.prefix(count)), to: path)
            tried += 1
            #expect(throws: FormatError.self) { _ = try saved() }
            refused += 1
        }
        // A flip in the hashes for `verify` or in bits that decoders ignore does no harm.
        #expect(refused > tried * 9 / 10)
    }

    @Test func headersThatPromiseWhatIsNotThere() throws {
        _ = try save(try evaluation(nil, ids: ModelFolder.tokens(128)))
        let source = try openTensorSource(at: path)
        guard case .gguf(let good) = source.manifest.metadata else {
            Issue.record("no GGUF")
            return
        }
        struct Changed: TensorSource {
            var manifest: Manifest
            let files: [SourceFile] = []
            func bytes(ofTensorAt index: Int) throws(FormatError) -> TensorBytes { TensorBytes([]) }
        }
        func refuses(_ change: (inout Manifest, inout GGUFMetadata) -> Void) -> Bool {
            var manifest = source.manifest, metadata = good
            change(&manifest, &metadata)
            manifest.metadata = .gguf(metadata)
            do { _ = try SavedLogits(Changed(manifest: manifest), path: "p") } catch { return error.path == "p" }
            return false
        }
        #expect(!refuses { _, _ in })
        for key in ["version", "protocol", "context", "windows", "vocabulary"] {
            #expect(refuses { $1["resq-logits." + key] = nil }, "\(key) missing")
            #expect(refuses { $1["resq-logits." + key] = .string("many") }, "\(key) of another kind")
        }
        for key in ["context", "windows", "vocabulary"] {
            for value in [0, 1, 3, 1 << 30, 1 << 31, UInt64.max] {
                #expect(refuses { $1["resq-logits." + key] = .u64(value) }, "\(key) \(value)")
            }
        }
        #expect(refuses { $1["resq-logits.version"] = .u32(2) })
        #expect(refuses { manifest, _ in manifest.tensors.swapAt(1, 2) })
        #expect(refuses { manifest, _ in manifest.tensors.removeLast() })
    }
}
