import Formats
import class Foundation.FileManager
import Models
import Passes
import Testing

/// `quantize` with `rounding: gptq`: what is rounded against what, and that nothing but the input decides the bytes.
@Suite struct SequentialRoundingTests {
    static func tokenFile(_ scratch: Scratch, count: Int = 600, vocabulary: Int = ModelFolder.vocabulary) throws -> String {
        var generator = SplitMix64(seed: 4)
        // Few tokens often, so that the second moments are far from round.
        let ids = (0..<count).map { _ in Int.random(in: 0..<vocabulary, using: &generator) * Int.random(in: 0..<vocabulary, using: &generator) / vocabulary }
        let header = "{'descr': '<i4', 'fortran_order': False, 'shape': (\(count),), }"
        var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(header.utf8.count), 0] + Array(header.utf8)
        for id in ids { bytes += [UInt8(id & 255), UInt8(id >> 8), 0, 0] }
        let path = scratch.path + "/tokens.npy"
        try writeFile(bytes, to: path)
        return path
    }

    private static func model(in scratch: Scratch, noise: Float = 0) throws -> ModelFolder {
        let folder = try ModelFolder(in: scratch, noise: noise)
        let vocabulary = (0..<ModelFolder.vocabulary).map { "\"t\($0)\": \($0)" }.joined(separator: ", ")
        let byteLevel = #"{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}"#
        let tokenizer = """
            {"added_tokens": [], "pre_tokenizer": \(byteLevel), "decoder": \(byteLevel),
             "model": {"type": "BPE", "vocab": {\(vocabulary)}, "merges": []}}
            """
        try writeFile(Array(tokenizer.utf8), to: folder.path + "/tokenizer.json")
        return folder
    }

    private func conversion(
        _ input: String, to path: String, text: String?, rules: String, options: String = "", sequences: Int = 12, context: Int = 24, format: ContainerFormat = .gguf,
        fallback: FallbackPolicy = .error
    ) throws -> Conversion {
        let recipe = try Recipe.parse(
            """
            {recipe: 1, name: t, calibration: {text: \(text ?? "null"), sequences: \(sequences), context: \(context)},
             passes: [{use: quantize, with: {rules: [\(rules)]\(options)}}]}
            """, file: "t")
        return try Conversion(
            input: input, passes: try recipe.passes.map { try Registry.builtIn.pass(for: $0) }, output: Output(path: path, format: format),
            onFallback: fallback, provenance: ("text", "t"), architectures: .builtIn, calibration: recipe.calibration)
    }

    private static let gptq = "{match: {role: linear}, type: q4_0, rounding: gptq}"

    /// The sum of squared differences of the logits from those of the model the rounding started from.
    private func damage(_ path: String, _ folder: ModelFolder, tokens: [Int]) throws -> Double {
        let expected = try ModelFolder.logits(try folder.network(), tokens)
        let found = try ModelFolder.logits(try graph(at: path).network(weightBudget: 1 << 30, threadCount: 1), tokens)
        return zip(expected.joined(), found.joined()).reduce(0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
    }

    @Test(arguments: ["q4_0", "q5_0", "iq4_nl"]) func doesLessDamageThanRoundingToNearest(type: String) throws {
        let scratch = try Scratch()
        let folder = try Self.model(in: scratch)
        let text = try Self.tokenFile(scratch)
        let tokens = Array(try TokenFile.read(text)[100..<200])
        var damages: [Double] = []
        for rounding in ["nearest", "gptq", "gptq, act-order"] {
            let rules = "{match: {role: linear}, type: \(type), rounding: \(rounding.prefix { $0 != "," })}"
            let path = scratch.path + "/\(rounding).gguf"
            _ = try conversion(folder.path, to: path, text: text, rules: rules, options: rounding.hasSuffix("act-order") ? ", act-order: true" : "")
                .run(threadCount: 2)
            damages.append(try damage(path, folder, tokens: tokens))
        }
        #expect(damages[1] < 0.9 * damages[0] && damages[2] < 0.9 * damages[0], "\(damages)")
    }

    /// The second moments that a rounding uses, gathered by running the whole model anew for every set of weights, with
    /// those rounded before in place: the rounded file must be what a rounding of the last set alone gives then.
    @Test func everySetIsRoundedAfterThoseBeforeIt() throws {
        let scratch = try Scratch()
        let folder = try Self.model(in: scratch)
        let text = try Self.tokenFile(scratch)
        _ = try conversion(folder.path, to: scratch.path + "/all.gguf", text: text, rules: Self.gptq).run(threadCount: 1)
        let sets = (0..<2).flatMap { layer in ["[qkv]", "o", "(gate|up)", "down"].map { "re:.*layers\\\\.\(layer)\\\\..*\\\\.\($0)_proj\\\\.weight" } }
        var input = folder.path
        for (index, set) in sets.enumerated() {
            // Everything rounded so far is stored as the numbers it stands for.
            let path = scratch.path + "/step\(index).gguf"
            _ = try conversion(input, to: path, text: text, rules: "{match: \"\(set)\", type: q4_0, rounding: gptq}").run(threadCount: 1)
            input = scratch.path + "/step\(index)-f32.gguf"
            _ = try conversion(path, to: input, text: text, rules: "{match: \"*\", type: f32}").run(threadCount: 1)
        }
        let whole = try graph(at: scratch.path + "/all.gguf")
        let stepwise = try graph(at: input)
        for tensor in whole.tensors where tensor.info.encoding == .block(.q4_0) {
            let other = try #require(stepwise[tensor.info.name])
            let rows = 0..<tensor.info.rowCount
            var values = [Float](repeating: 0, count: tensor.info.elementCount)
            var target = values.mutableSpan
            let stored = try tensor.rows(rows)
            try Codec.decode(tensor.info.encoding, stored.bytes, into: &target)
            #expect(values == floats(try other.rows(rows)), "\(tensor.info.name)")
        }
        #expect(whole.tensors.count { $0.info.encoding == .block(.q4_0) } == 14)
    }

    /// The head, its own or the embedding's, rounded with the second moments of what it reads.
    @Test(arguments: ["llama-gqa-tied", "llama-mha"]) func theHeadIsRoundedToo(name: String) throws {
        let scratch = try Scratch()
        let folder = scratch.path + "/model"
        try ForwardFixture.named(name).write(to: folder)
        let before = try graph(at: folder)
        let head = before.model?.isTied == true ? "model.embed_tokens.weight" : "lm_head.weight"
        let text = try Self.tokenFile(scratch, count: 2000, vocabulary: before[head]?.info.rowCount ?? 0)
        let tokens = Array(try TokenFile.read(text)[100..<160])
        func logits(_ graph: TensorGraph) throws -> [Float] {
            try graph.network(weightBudget: 1 << 30, threadCount: 1).logits([tokens], hooks: nil)[0].flatMap { $0 }
        }
        let expected = try logits(before)
        var damages: [Double] = []
        for rounding in ["nearest", "gptq"] {
            let path = scratch.path + "/\(rounding).gguf"
            _ = try conversion(
                folder, to: path, text: text, rules: "{match: \(head), type: q4_0, rounding: \(rounding)}", options: ", sweeps: 1", sequences: 40, context: 32
            ).run(threadCount: 2)
            let found = try logits(try graph(at: path))
            damages.append(zip(expected, found).reduce(0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) })
        }
        #expect(damages[1] < 0.95 * damages[0], "\(damages)")
    }

    /// A part of the recipe's sequences gives what a recipe with so many would.
    @Test func theFirstSequencesAreEnough() throws {
        let scratch = try Scratch()
        let folder = try Self.model(in: scratch)
        let text = try Self.tokenFile(scratch)
        for (name, sequences, options) in [("few", 5, ""), ("first", 12, ", sequences: 5"), ("all", 12, "")] {
            _ = try conversion(
                folder.path, to: scratch.path + "/\(name).gguf", text: text, rules: Self.gptq, options: options, sequences: sequences
            ).run(threadCount: 1)
        }
        func codes(_ name: String) throws -> [[UInt8]] {
            try graph(at: scratch.path + "/\(name).gguf").tensors.filter { $0.info.encoding == .block(.q4_0) }
                .map { try $0.rows(0..<$0.info.rowCount).array }
        }
        #expect(try codes("first") == codes("few"))
        #expect(try codes("first") != codes("all"))
    }

    @Test func theBytesDoNotDependOnTheThreads() throws {
        let scratch = try Scratch()
        let folder = try Self.model(in: scratch)
        let text = try Self.tokenFile(scratch)
        for threads in [1, 3] {
            _ = try conversion(folder.path, to: scratch.path + "/\(threads)", text: text, rules: Self.gptq).run(threadCount: threads)
        }
        #expect(try scratch.contents("1") == scratch.contents("3"))
    }

    /// With a text and, as when there is none, with sequences that the model writes.
    @Test(arguments: [true, false]) func anInterruptedRunGoesOnAtItsLayer(hasText: Bool) throws {
        let scratch = try Scratch()
        let folder = try Self.model(in: scratch)
        let text = hasText ? try Self.tokenFile(scratch) : nil
        func run(to name: String, work: String?, progress: Progress = Progress()) throws {
            _ = try conversion(folder.path, to: scratch.path + "/" + name, text: text, rules: Self.gptq)
                .run(threadCount: 1, workDirectory: work, progress: progress)
        }
        try run(to: "whole", work: nil)
        let work = scratch.path + "/work"
        let counter = Counter()
        let stopping = Progress { state in
            if state.phase == .rounding, state.done == 1 { counter.progress?.cancel() }
        }
        counter.progress = stopping
        #expect(throws: PipelineError.interrupted) { try run(to: "resumed", work: work, progress: stopping) }
        let counting = Progress { state in
            if state.phase == .rounding { counter.total = state.total }
            if state.phase == .sampling { counter.hasSampled = true }
        }
        try run(to: "resumed", work: work, progress: counting)
        #expect(counter.total == 1 && !counter.hasSampled)
        #expect(try scratch.contents("resumed") == scratch.contents("whole"))
    }

    /// The walk of the original network to the head of a tied embedding.
    @Test func anInterruptedWalkGoesOnAtItsLayer() throws {
        let scratch = try Scratch()
        let folder = scratch.path + "/model"
        try ForwardFixture.named("llama-gqa-tied").write(to: folder)
        let before = try graph(at: folder)
        let text = try Self.tokenFile(scratch, vocabulary: before["model.embed_tokens.weight"]?.info.rowCount ?? 0)
        func run(to name: String, work: String?, progress: Progress = Progress()) throws {
            _ = try conversion(folder, to: scratch.path + "/" + name, text: text, rules: "{match: model.embed_tokens.weight, type: q4_0, rounding: gptq}")
                .run(threadCount: 1, workDirectory: work, progress: progress)
        }
        try run(to: "whole", work: nil)
        let work = scratch.path + "/work"
        let counter = Counter()
        let tokens = 12 * 24
        let stopping = Progress { state in
            // All tokens are through the first layer.
            if state.phase == .calibrating, state.done == tokens { counter.progress?.cancel() }
        }
        counter.progress = stopping
        #expect(throws: PipelineError.interrupted) { try run(to: "resumed", work: work, progress: stopping) }
        let counting = Progress { state in if state.phase == .calibrating { counter.total = state.total } }
        try run(to: "resumed", work: work, progress: counting)
        let layers = before.model?.hyperparameters.layers ?? 0
        #expect(layers > 1)
        #expect(counter.total == (layers - 1) * tokens)
        #expect(try scratch.contents("resumed") == scratch.contents("whole"))
        let left = try FileManager.default.subpathsOfDirectory(atPath: work)
        #expect(!left.contains { $0.contains("original") })
    }

    @Test func aPlanNeedsNoCalibration() throws {
        let scratch = try Scratch()
        let folder = try Self.model(in: scratch)
        let text = try Self.tokenFile(scratch)
        let plan = try conversion(folder.path, to: scratch.path + "/out.gguf.zst", text: text, rules: Self.gptq, format: .ggufZst).plan(threadCount: 1)
        let down = try #require(plan.tensors.first { $0.name == "blk.1.ffn_down.weight" })
        #expect(down.encoding == .block(.q4_0) && down.rule == "quantize, rule 1: Q4_0, gptq" && down.compression == "known when run")
        #expect(scratch.names == ["model", "tokens.npy"])
    }

    /// Experts that no token was routed to have nothing to be rounded against.
    @Test(arguments: ["mixtral", "qwen2moe", "qwen3moe"]) func expertsWithoutTokensAreRoundedToNearest(name: String) throws {
        let scratch = try Scratch()
        let fixture = ForwardFixture.named(name)
        try fixture.write(to: scratch.path + "/model")
        let text = try Self.tokenFile(scratch, vocabulary: 32)
        func remarks(sequences: Int, context: Int) throws -> [Diagnostic] {
            try conversion(
                scratch.path + "/model", to: scratch.path + "/out", text: text, rules: Self.gptq, sequences: sequences, context: context,
                fallback: .allow
            ).run(threadCount: 2).diagnostics.filter { $0.message.contains("no token of the calibration reached it") }
        }
        // Two tokens go to four of five experts at most.
        let few = try remarks(sequences: 1, context: 2)
        #expect(few.count == 1 && few[0].severity == .warning && few[0].message.contains("experts."))
        #expect(try remarks(sequences: 12, context: 100).isEmpty)
    }

    @Test(arguments: ForwardFixture.all) func everyArchitectureIsRounded(fixture: ForwardFixture) throws {
        let scratch = try Scratch()
        try fixture.write(to: scratch.path + "/model")
        let text = try Self.tokenFile(scratch, vocabulary: 32)
        _ = try conversion(scratch.path + "/model", to: scratch.path + "/out", text: text, rules: Self.gptq, fallback: .allow).run(threadCount: 2)
        let rounded = try graph(at: scratch.path + "/out").tensors.filter { $0.info.encoding == .block(.q4_0) }
        // Two or more layers, each with a matrix of 32 or 64 columns for attention, its output, and the MLP.
        #expect(rounded.count >= 4)
    }

    @Test func whatCannotBeCalibratedIsRefusedAtOnce() throws {
        let scratch = try Scratch()
        let folder = try Self.model(in: scratch)
        let text = try Self.tokenFile(scratch, count: 20)
        let out = scratch.path + "/out"
        #expect(throws: EvaluationError(.textTooShort(tokens: 20, context: 24), path: text)) {
            try conversion(folder.path, to: out, text: text, rules: Self.gptq)
        }
        #expect(throws: ForwardError.contextTooLong(tokens: 513, context: 512)) {
            try conversion(folder.path, to: out, text: text, rules: Self.gptq, context: 513)
        }
        #expect(throws: FormatError.self) { try conversion(folder.path, to: out, text: scratch.path + "/none.txt", rules: Self.gptq) }
        let nameless = try scratch.model(count: 1)
        #expect(throws: (any Error).self) { try conversion(nameless, to: out, text: text, rules: "{match: \"*\", type: q4_0, rounding: gptq}") }
        #expect(scratch.names == ["in.safetensors", "model", "tokens.npy"])
    }

    /// Weights that are finite, activations that are not.
    @Test func activationsThatAreNoNumbersNameLayerAndToken() throws {
        let scratch = try Scratch()
        let folder = try Self.model(in: scratch, noise: 1e18)
        let text = try Self.tokenFile(scratch)
        let rules = "{match: {role: down}, type: q4_0, rounding: gptq}"
        let error = #expect(throws: ForwardError.self) {
            try conversion(folder.path, to: scratch.path + "/out", text: text, rules: rules).run(threadCount: 1)
        }
        guard case .notFinite(layer: 0, sequence: 0, position: 0) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(scratch.names == ["model", "tokens.npy"])
    }

    /// Finite, and past what the scales of a type hold.
    @Test(arguments: ["q4_0", "int4"]) func weightsThatAreTooLargeAreNamed(type: String) throws {
        let scratch = try Scratch()
        let folder = try Self.model(in: scratch, noise: 1e18)
        let text = try Self.tokenFile(scratch)
        for rounding in ["gptq", "nearest"] where type == "int4" || rounding == "gptq" {
            #expect {
                try conversion(
                    folder.path, to: scratch.path + "/out", text: text, rules: "{match: {role: linear}, type: \(type), rounding: \(rounding)}"
                ).run(threadCount: 1)
            } throws: { "\($0)".contains("attn") && "\($0)".contains("is too large for \(type == "int4" ? type : "Q4_0")") }
        }
        #expect(scratch.names == ["model", "tokens.npy"])
    }

    @Test func aHeadOfIntegersIsRoundedToNearestWithAWarning() throws {
        let scratch = try Scratch()
        let folder = scratch.path + "/model"
        try ForwardFixture.named("llama-mha").write(to: folder)
        let made = try conversion(
            folder, to: scratch.path + "/out", text: try Self.tokenFile(scratch), rules: "{match: lm_head.weight, type: int4, rounding: gptq}")
        #expect(made.diagnostics == [Diagnostic(.warning, "gptq rounds a head to block types only: 'lm_head.weight' is rounded to nearest")])
    }

    @Test func typesThatGPTQDoesNotKnowAreRoundedToNearestWithAWarning() throws {
        let scratch = try Scratch()
        let folder = try Self.model(in: scratch)
        let text = try Self.tokenFile(scratch)
        let made = try conversion(folder.path, to: scratch.path + "/out", text: text, rules: "{match: {role: linear}, type: mxfp4, rounding: gptq}")
        #expect(made.diagnostics == [Diagnostic(.warning, "gptq does not round to MXFP4: to nearest instead")])
        _ = try made.run(threadCount: 1)
    }
}

/// What a listener sees, and the progress it listens to.
private final class Counter: @unchecked Sendable {  // used by one thread
    var progress: Progress?
    var total = 0
    var hasSampled = false
}
