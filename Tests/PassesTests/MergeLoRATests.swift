import Foundation
import Formats
import Models
import Passes
import Testing

/// Adapters that PEFT saved, merged, against PEFT's merge (`scripts/fixtures/make-lora`). All sums are exact there.
@Suite struct MergeLoRATests {
    static let cases = [
        "patterns", "rank-stabilised", "embedding", "tied-embedding", "tied-head-saved", "saved", "bias", "lora-bias", "transposed",
    ]

    private static let folder: String = {
        let file = #filePath
        return String(file[..<(file.lastIndex(of: "/") ?? file.endIndex)]) + "/Fixtures/lora/"
    }()

    private func merged(_ name: String, adapter: String? = nil) throws -> TensorGraph {
        var graph = try TensorGraph(try openTensorSource(at: Self.folder + name + "/base"), architectures: .builtIn)
        let adapter = adapter ?? Self.folder + name + "/adapter"
        let recipe = try Recipe.parse(
            "{recipe: 1, name: t, passes: [{use: merge-lora, with: {adapter: \"\(adapter)\"}}]}", file: "t")
        try Registry.builtIn.pass(for: recipe.passes[0]).rewrite(&graph, in: PassContext(onFallback: .error))
        return graph
    }

    @Test(arguments: cases) func everyWeightIsPEFTs(name: String) throws {
        let graph = try merged(name)
        let expected = try TensorGraph(
            try openTensorSource(at: Self.folder + name + "/expected.safetensors"), architectures: .builtIn)
        #expect(Set(graph.tensors.map(\.info.name)) == Set(expected.tensors.map(\.info.name)))
        var changed = 0
        let base = try openTensorSource(at: Self.folder + name + "/base")
        for tensor in expected.tensors {
            let result = try #require(graph[tensor.info.name])
            let values = floats(try result.rows(0..<result.info.rowCount))
            #expect(result.info.shape == tensor.info.shape, "\(tensor.info.name)")
            #expect(values == floats(try tensor.rows(0..<tensor.info.rowCount)), "\(tensor.info.name)")
            if let place = base.manifest.tensors.firstIndex(where: { $0.name == tensor.info.name }) {
                if values != floats(try base.bytes(ofTensorAt: place)) { changed += 1 }
            }
        }
        #expect(changed > 0)
    }

    /// The adapter `patterns` with its configuration changed.
    private func refusal(_ key: String, _ value: JSONValue) throws -> String {
        let scratch = try Scratch()
        let folder = Self.folder + "patterns/adapter/"
        try FileManager.default.copyItem(
            atPath: folder + "adapter_model.safetensors", toPath: scratch.path + "/adapter_model.safetensors")
        var config = try #require(try JSONValue(parsing: MappedFile(path: folder + "adapter_config.json").bytes).object)
        config[key] = value
        try JSONValue.object(config).text(pretty: true).write(
            toFile: scratch.path + "/adapter_config.json", atomically: true, encoding: .utf8)
        do {
            _ = try merged("patterns", adapter: scratch.path)
            return "fine"
        } catch let error as FormatError {
            return error.description.replacing(scratch.path, with: "")
        }
    }

    @Test func whatIsNoPlainLoRAIsRefusedWithItsReason() throws {
        let file = "/adapter_config.json: "
        #expect(
            try refusal("use_dora", true)
                == file + "DoRA, whose magnitudes renormalise every merged row ('use_dora') is not supported")
        #expect(
            try refusal("init_lora_weights", "pissa_niter_4")
                == file + "an adapter that begins by changing the base weights ('init_lora_weights' is 'pissa_niter_4') is not supported")
        #expect(try refusal("trainable_token_indices", [1]) == file + "trained tokens ('trainable_token_indices') is not supported")
        #expect(try refusal("peft_type", "IA3") == file + "an adapter of type IA3 is not supported")
        #expect(try refusal("init_lora_weights", "gaussian") == "fine")
        #expect(try refusal("target_parameters", []) == "fine")
    }

    @Test func aConfigurationThatDoesNotFitIsRefused() throws {
        let file = "/adapter_config.json: "
        #expect(try refusal("lora_alpha", "16") == file + "'lora_alpha' is \"16\", expected a number")
        #expect(try refusal("r", 0) == file + "'r' is 0, expected an integer above 0")
        #expect(try refusal("rank_pattern", ["q_proj": 1.5]) == file + "'rank_pattern' is 1.5, expected an integer above 0")
        #expect(try refusal("alpha_pattern", ["(q": 1]).hasPrefix(file + "'alpha_pattern' is '(q', which "))
        #expect(try refusal("alpha_pattern", [1]) == file + "'alpha_pattern' is an array, expected an object")
        // Ranks that are not those of the tensors.
        let message = try refusal("rank_pattern", [:])
        #expect(message.hasPrefix("/adapter_model.safetensors: tensor 'model.layers.0.mlp.gate_proj': "), "\(message)")
        #expect(message.contains("expected [8, inputs] and [outputs, 8], the rank of /adapter_config.json"), "\(message)")
    }
}
