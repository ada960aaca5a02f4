import Formats
import Models
import Passes
import TestSupport
import Testing

/// Rounds as the formulas say, one number after another.
private final class NaiveRounding: ForwardHooks {
    struct Part {
        var count: Int
        var bits: Int
    }

    /// Of a token's row, of a head in the input of o, of a head of queries and keys, then of keys, and of values.
    private let stream: [Part], output: [Part], rotated: [Part], keyParts: [Part], valueParts: [Part]
    private let downBits: Int

    init(stream: [Part] = [], output: [Part] = [], rotated: [Part] = [], keys: [Part] = [], values: [Part] = [], downBits: Int = 0) {
        (self.stream, self.output, self.rotated, keyParts, valueParts) = (stream, output, rotated, keys, values)
        self.downBits = downBits
    }

    private func round(_ rows: inout MutableSpan<Float>, _ parts: [Part], includesZero: Bool) {
        var start = 0
        while !parts.isEmpty, start < rows.count {
            for part in parts {
                var (least, most) = (Float.infinity, -Float.infinity)
                for index in start..<start + part.count { (least, most) = (min(least, rows[index]), max(most, rows[index])) }
                if includesZero { (least, most) = (min(least, 0), max(most, 0)) }
                let steps = Float((1 << part.bits) - 1)
                let scale = (most - least) / steps
                let zero = (-least / scale).rounded(.toNearestOrEven)
                for index in start..<start + part.count {
                    let code = min(max((rows[index] / scale).rounded(.toNearestOrEven) + zero, 0), steps)
                    rows[index] = scale * (code - zero)
                }
                start += part.count
            }
        }
    }

    func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) {
        switch place {
        case .attention, .mlp: round(&rows, stream, includesZero: true)
        case .attentionOutput: round(&rows, output, includesZero: false)
        case .mlpOutput: if downBits > 0 { round(&rows, [Part(count: columnCount, bits: downBits)], includesZero: true) }
        default: break
        }
    }

    func queries(layer: Int, rows: inout MutableSpan<Float>) { round(&rows, rotated, includesZero: true) }
    func keys(layer: Int, rows: inout MutableSpan<Float>) {
        round(&rows, rotated, includesZero: true)
        round(&rows, keyParts, includesZero: true)
    }
    func values(layer: Int, rows: inout MutableSpan<Float>) { round(&rows, valueParts, includesZero: false) }
}

/// Applies passes to a graph.
private func applying(_ passes: String, to graph: TensorGraph) throws -> TensorGraph {
    var changed = graph
    let recipe = try Recipe.parse("{recipe: 1, name: t, passes: [\(passes)]}", file: "t")
    for pass in recipe.passes { try Registry.builtIn.pass(for: pass).rewrite(&changed, in: PassContext(onFallback: .error)) }
    return changed
}

private func logits(_ graph: TensorGraph, _ sequences: [[Int]], hooks: (any ForwardHooks)? = nil, threadCount: Int = 2) throws -> [[[Float]]] {
    try graph.network(weightBudget: 1 << 30, threadCount: threadCount).logits(sequences, hooks: hooks)
}

@Suite struct OnlineRoundingTests {
    private let fixture = ForwardFixture.named("llama-gqa-tied")

    private func original(in scratch: Scratch) throws -> TensorGraph {
        try fixture.write(to: scratch.path + "/model")
        return try graph(at: scratch.path + "/model")
    }

    @Test func roundingFollowsTheFormulas() throws {
        let scratch = try Scratch()
        let rotation = "{use: resq.rotate, with: {basis: random, high-fraction: 0.25, low-fraction: 0.25}}"
        let turned = try applying(rotation, to: try original(in: scratch))
        let rounded = try applying(
            "{use: resq.online, with: {activations: 4, activations-low: 3, down: 5, kv: 3, kv-high: 6, key-rotation: 16}}", to: turned)
        // A stream of 32 and heads of 8, a quarter low and a quarter high.
        let head: [NaiveRounding.Part] = [.init(count: 2, bits: 2), .init(count: 4, bits: 3), .init(count: 2, bits: 6)]
        let hooks = NaiveRounding(
            stream: [.init(count: 8, bits: 3), .init(count: 16, bits: 4), .init(count: 8, bits: 8)],
            output: [.init(count: 2, bits: 3), .init(count: 4, bits: 4), .init(count: 2, bits: 8)], keys: head, values: head, downBits: 5)
        let ids = fixture.sequences.map(\.ids)
        let found = try logits(rounded, ids)
        #expect(found == (try logits(turned, ids, hooks: hooks)))
        #expect(found == (try logits(rounded, ids, threadCount: 1)))
        #expect(found != (try logits(turned, ids)))
    }

    /// A group ends with its part, and the last may be smaller.
    @Test func groupsOfALinearInputHaveScalesOfTheirOwn() throws {
        let scratch = try Scratch()
        let turned = try applying("{use: resq.rotate, with: {basis: random, high-fraction: 0.25}}", to: try original(in: scratch))
        let rounded = try applying("{use: resq.online, with: {activation-group: 10, down: 16, kv: 16, key-rotation: 16}}", to: turned)
        let hooks = NaiveRounding(
            stream: [.init(count: 10, bits: 4), .init(count: 10, bits: 4), .init(count: 4, bits: 4), .init(count: 8, bits: 8)],
            output: [.init(count: 6, bits: 4), .init(count: 2, bits: 8)])
        let ids = fixture.sequences.map(\.ids)
        #expect(try logits(rounded, ids) == logits(turned, ids, hooks: hooks))
    }

    /// With U_C the identity, which 8 bits hold exactly, only queries and keys are rounded.
    @Test func queriesAndKeysAreRoundedBeforeTheyAreTurned() throws {
        let scratch = try Scratch()
        let graph = try original(in: scratch)
        let rounded = try applying(
            """
            {use: resq.rotate, with: {basis: identity, rotation: identity, high-fraction: 0, residual: false, values: false, down: false}},
            {use: resq.online, with: {activations: 16, kv: 16}}
            """, to: graph)
        let hooks = NaiveRounding(rotated: [.init(count: 8, bits: 8)])
        let ids = fixture.sequences.map(\.ids)
        #expect(try logits(rounded, ids) == logits(graph, ids, hooks: hooks))
    }

    /// The last token alone, with the keys and values of those before in a cache, is what it is among all.
    @Test func aCacheHoldsRoundedKeysAndValues() throws {
        let scratch = try Scratch()
        let graph = try applying("{use: hadamard}, {use: resq.online}", to: try original(in: scratch))
        let network = try graph.network(weightBudget: 1 << 30, threadCount: 2)
        let ids = [fixture.sequences[0].ids]
        for (whole, pieces) in zip(try network.logits(ids), try network.logits(ids, pieces: [60, 1, 9])) {
            // Sums in another order may fall to the other side of a rounding step somewhere.
            let distances = zip(whole, pieces).map { largestDifference([$0], [$1]) }.sorted()
            #expect(distances[distances.count / 2] < 1e-4)
        }
    }

    @Test func widthsOfTheUserTakeThePlaceOfTheModels() throws {
        let scratch = try Scratch()
        let turned = try applying("{use: resq.rotate, with: {basis: random, high-fraction: 0.25}}", to: try original(in: scratch))
        let four = try applying("{use: resq.online}", to: turned)
        var eight = try applying("{use: resq.online, with: {activations: 8, kv: 8}}", to: turned)
        let ids = fixture.sequences.map(\.ids)
        var overridden = four
        overridden.round(activations: 8, keyValues: 8)
        #expect(try logits(overridden, ids) == logits(eight, ids))
        eight.round(activations: 4, keyValues: 4)
        #expect(try logits(eight, ids) == logits(four, ids))
        overridden.round(activations: 16, keyValues: 16)
        #expect(try logits(overridden, ids) == logits(turned, ids))
        // A model that says nothing of rounding is rounded whole.
        var plain = try original(in: scratch)
        plain.round(activations: 3, keyValues: nil)
        let hooks = NaiveRounding(stream: [.init(count: 32, bits: 3)], output: [.init(count: 8, bits: 3)], downBits: 3)
        #expect(try logits(plain, ids) == logits(try original(in: scratch), ids, hooks: hooks))
    }

    @Test func activationsThatAreNotFiniteAreNamedWithLayerAndToken() throws {
        let scratch = try Scratch()
        let network = try applying("{use: resq.online}", to: try original(in: scratch)).network(weightBudget: 1 << 30, threadCount: 2)
        let batch = try network.embed([[1, 2], [3, 4]])
        let spoiled = Batch(hidden: batch.hidden.enumerated().map { $0.offset == 3 * 32 + 7 ? .nan : $0.element }, lengths: [2, 2])
        var (changed, none) = (spoiled, [KeyValueCache]?.none)
        #expect(throws: ForwardError.notFinite(layer: 0, sequence: 1, position: 1)) {
            try network.runLayers(on: &changed, caches: &none, tables: network.rotaryTables(contextLength: 2))
        }
    }
}

@Suite struct OnlineArtifactTests {
    private let folder: TemporaryFolder
    private let model: String
    private let ids = [[0, 3, 1, 6, 2, 2, 5, 4, 7, 1]]

    init() throws {
        folder = try TemporaryFolder()
        model = try SmallModel().write(to: folder)
    }

    private func convert(_ passes: String, from input: String? = nil, to name: String, _ format: ContainerFormat) throws -> String {
        try folder.convert(passes, from: input ?? model, to: name, format)
    }

    @Test(arguments: [ContainerFormat.gguf, .ggufZst]) func aFileComputesWhatTheGraphDid(format: ContainerFormat) throws {
        let passes = "{use: resq.rotate, with: {basis: random}}, {use: resq.online, with: {kv: 3, down: 6, activation-group: 12}}"
        let path = try convert(passes, to: "a.gguf" + (format == .ggufZst ? ".zst" : ""), format)
        let expected = try logits(try applying(passes, to: try graph(at: model)), ids)
        #expect(try logits(try graph(at: path), ids) == expected)
        guard case .gguf(let metadata) = try openTensorSource(at: path).manifest.metadata else { Issue.record("no GGUF"); return }
        #expect(metadata["general.architecture"]?.string == "resq")
        #expect(metadata["resq.base_architecture"]?.string == "llama")
        // Another container keeps everything.
        let copy = try convert("", from: path, to: "b.gguf", .gguf)
        #expect(try logits(try graph(at: copy), ids) == expected)
    }

    @Test func whatFusesIsAnOrdinaryModel() throws {
        let passes = "{use: resq.rotate, with: {basis: random, keys: false, down: false}}"
        let path = try convert(passes, to: "a.gguf", .gguf)
        guard case .gguf(let metadata) = try openTensorSource(at: path).manifest.metadata else { Issue.record("no GGUF"); return }
        #expect(metadata["general.architecture"]?.string == "llama")
        #expect(metadata.keys.allSatisfy { !$0.hasPrefix("resq.online") })
        let directory = try convert(passes, to: "b", .huggingFace)
        let expected = try logits(try graph(at: model), ids)
        for path in [path, directory] {
            let found = try logits(try graph(at: path), ids)
            #expect(found != expected)
            #expect(zip(found, expected).allSatisfy { largestDifference($0, $1) < 5e-5 })
        }
    }

    @Test(arguments: [ContainerFormat.huggingFace, .safetensors]) func aFormatThatCannotSaySoIsRefused(format: ContainerFormat) throws {
        #expect {
            _ = try convert("{use: hadamard, with: {keys: false}}", to: "a", format)
        } throws: { error in
            guard case PipelineError.needsRuntime(_, "the inputs of down are transformed") = error else { return false }
            return true
        }
    }

    /// One key or name changed, its length kept.
    @Test(arguments: [
        ("resq.online.version", "resq.online.versiom", "'resq.online.version' is missing"),
        ("resq.base_architecture", "resq.base_architecturf", "'resq.base_architecture' is missing"),
        ("resq.online.keys.widths", "resq.online.keys.widthz", "'resq.online.keys.widths' is missing"),
        ("resq.online.keys.rotated", "resq.online.keys.rotatee", "'resq.online.keys.rotated' is missing"),
        ("resq.online.values.rotated", "resq.online.values.rotatee", "'resq.online.values.rotated' is missing"),
        ("resq.online.residual.rotated", "resq.online.residual.rotatee", "'resq.online.residual.rotated' is missing"),
        ("resq.online.down.transformed", "resq.online.down.transformee", "'resq.online.down.transformed' is missing"),
        ("resq.online.down.transform_seed", "resq.online.down.transform_feed", "'resq.online.down.transform_seed' is missing"),
        ("resq.online.keys.rotated\u{7}\0\0\0\u{1}", "resq.online.keys.rotated\0\0\0\0\u{1}", "'resq.online.keys.rotated' is a u8"),
        ("resq.online.down.transformed\u{7}\0\0\0\u{1}", "resq.online.down.transformed\u{7}\0\0\0\0", "'resq.online.down.transformed' is false"),
        ("resq.online.keys.rotated\u{7}\0\0\0\u{1}", "resq.online.keys.rotated\u{7}\0\0\0\0", "as many as the file holds"),
        ("resq.online.residual.rotated\u{7}\0\0\0\u{1}", "resq.online.residual.rotated\u{7}\0\0\0\0", "as many as the file holds"),
        ("resq.online.activations.group\u{4}\0\0\0\u{c}", "resq.online.activations.group\u{4}\0\0\0\0", "'resq.online.activations.group' is 0"),
        ("residual_rotation.weight", "residual_rotatiom.weight", "1 tensors have no place in this architecture: 'residual_rotatiom.weight'"),
        ("blk.0.attn_value_rotation.weight", "blk.5.attn_value_rotation.weight", "1 tensors are missing: 'blk.0.attn_value_rotation.weight'"),
        ("blk.1.attn_key_rotation.weight", "blk.7.attn_key_rotation.weight", "1 tensors are missing: 'blk.1.attn_key_rotation.weight'"),
        ("\u{3}\0\0\0\0\0\0\0\0\0\0\0\u{e}\0\0\0\u{2}\0\0\0", "\u{3}\0\0\0\0\0\0\0\0\0\0\0\u{f}\0\0\0\u{2}\0\0\0", "three widths that are 16 together"),
    ]) func aFileWithoutItsTransformsIsRefused(what: String, by: String, message: String) throws {
        let path = try convert("{use: resq.rotate, with: {basis: random}}, {use: resq.online, with: {activation-group: 12}}", to: "a.gguf", .gguf)
        var contents = try folder.read("a.gguf")
        let (old, new) = (Array(what.utf8), Array(by.utf8))
        let place = try #require((0..<contents.count - old.count).first { contents[$0..<$0 + old.count].elementsEqual(old) })
        contents.replaceSubrange(place..<place + old.count, with: new)
        try folder.write(contents, to: "a.gguf")
        #expect {
            _ = try graph(at: path).network(weightBudget: 0, threadCount: 1)
        } throws: { "\($0)".contains("\(path): ") && "\($0)".contains(message) }
    }
}
