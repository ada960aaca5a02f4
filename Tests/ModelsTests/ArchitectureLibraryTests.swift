import Formats
import Models
import Testing

@Suite struct ArchitectureLibraryTests {
    static let identifiers = [
        "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen2moe", "qwen3moe", "gemma2", "gemma3", "phi3",
    ]

    @Test func everyBuiltInFilePassesTheSchema() {
        #expect(ArchitectureLibrary.builtIn.architectures.map(\.identifier) == Self.identifiers)
    }

    @Test(arguments: [
        ("LlamaForCausalLM", "llama"), ("MistralForCausalLM", "mistral"), ("MixtralForCausalLM", "mixtral"),
        ("Qwen2ForCausalLM", "qwen2"), ("Qwen3ForCausalLM", "qwen3"), ("Qwen2MoeForCausalLM", "qwen2moe"),
        ("Qwen3MoeForCausalLM", "qwen3moe"), ("Gemma2ForCausalLM", "gemma2"), ("Gemma3ForCausalLM", "gemma3"),
        ("Phi3ForCausalLM", "phi3"),
    ]) func findsByClassName(className: String, identifier: String) throws {
        let config: JSONValue = ["architectures": [.string(className)], "model_type": "something else"]
        #expect(try ArchitectureLibrary.builtIn.architecture(forConfig: config).identifier == identifier)
    }

    @Test func findsByModelTypeWhenNoClassIsNamed() throws {
        let config: JSONValue = ["model_type": "gemma3_text"]
        #expect(try ArchitectureLibrary.builtIn.architecture(forConfig: config).identifier == "gemma3")
    }

    @Test func expertsTellMixtralFromLlama() throws {
        var metadata = GGUFMetadata()
        metadata["general.architecture"] = .string("llama")
        #expect(try ArchitectureLibrary.builtIn.architecture(for: metadata).identifier == "llama")
        metadata["llama.expert_count"] = .u32(8)
        #expect(try ArchitectureLibrary.builtIn.architecture(for: metadata).identifier == "mixtral")
    }

    @Test func anUnknownArchitectureIsNamedWithTheKnownOnes() {
        #expect {
            try ArchitectureLibrary.builtIn.architecture(forConfig: ["architectures": ["NovelForCausalLM"]])
        } throws: { error in
            guard case .unknownArchitecture(let name, let known)? = (error as? ModelError)?.reason else { return false }
            return name == "NovelForCausalLM" && known.contains("LlamaForCausalLM") && known.contains("Phi3ForCausalLM")
        }
        var metadata = GGUFMetadata()
        metadata["general.architecture"] = .string("mamba")
        #expect {
            try ArchitectureLibrary.builtIn.architecture(for: metadata)
        } throws: { error in
            guard case .unknownArchitecture("mamba", let known)? = (error as? ModelError)?.reason else { return false }
            return known.contains("llama (with experts)") && known.contains("qwen2")
        }
    }

    @Test func aFileOfTheUserExtendsABuiltInOneAndWins() throws {
        let text = """
            {"extends": "llama", "architecture": "mine", "gguf": "mine",
             "huggingface": {"architectures": ["MineForCausalLM", "Qwen2ForCausalLM"], "model-types": ["mine"]},
             "tensors": {"lm_head.weight": null}}
            """
        let library = try ArchitectureLibrary(adding: [("mine.json", Array(text.utf8))])
        #expect(try library.architecture(forConfig: ["architectures": ["MineForCausalLM"]]).identifier == "mine")
        #expect(try library.architecture(forConfig: ["architectures": ["Qwen2ForCausalLM"]]).identifier == "mine")
        #expect(library.architectures.count == Self.identifiers.count + 1)
    }

    /// Each is a change to the llama file that breaks one rule, and the field the error must name.
    @Test(arguments: [
        (#""surprise": 1"#, "surprise"),
        (#""gguf": 3"#, "gguf"),
        (#""experts": "no""#, "experts"),
        (#""tensors": {"lm_head.weight": {"color": "red"}}"#, "tensors.lm_head.weight.color"),
        (#""tensors": {"lm_head.weight": {"role": "crown"}}"#, "tensors.lm_head.weight.role"),
        (#""tensors": {"lm_head.weight": {"shape": ["hidden*"]}}"#, "tensors.lm_head.weight.shape"),
        (#""tensors": {"lm_head.weight": {"shape": ["hidden-1"]}}"#, "tensors.lm_head.weight.shape"),
        (#""tensors": {"lm_head.weight": {"gguf": "blk.{layer}.out"}}"#, "tensors.lm_head.weight.gguf"),
        (#""tensors": {"lm_head.weight": {"gguf": "token_embd.weight"}}"#, "tensors.*.gguf"),
        (#""tensors": {"layer{layer}.x": {"gguf": "x", "role": "q", "shape": []}}"#, "tensors.layer{layer}.x"),
        (#""hyperparameters": {"girth": {}}"#, "hyperparameters.girth"),
        (#""hyperparameters": {"heads": {"config": "num_heads"}}"#, "hyperparameters.heads.config"),
        (#""rope": {"theta": -1}"#, "rope.theta"),
        (#""rope": {"scaling": ["magic"]}"#, "rope.scaling"),
        (#""folds": {"attention-norm": ["x"]}"#, "folds.attention-norm"),
        (#""metadata": {"{arch}.block_count": {"constant": 1}}"#, "metadata.{arch}.block_count"),
        (#""metadata": {"{arch}.block_count": {"type": "u7"}}"#, "metadata.{arch}.block_count.type"),
        (#""huggingface": {"architectures": []}"#, "huggingface"),
        (#""metadata": {"{arch}.x": {"type": "u32", "config": []}}"#, "metadata.{arch}.x.config"),
        (#""hyperparameters": {"heads": null}"#, "hyperparameters.heads"),
        (#""extends": "nothing""#, "extends"),
    ]) func aBrokenFileIsRefusedWithItsField(change: String, field: String) {
        let base = change.contains("extends") ? "" : #""extends": "llama", "#
        let text = #"{\#(base)"architecture": "broken", \#(change)}"#
        #expect {
            try ArchitectureLibrary(adding: [("dir/broken.json", Array(text.utf8))])
        } throws: { error in
            guard let error = error as? ModelError, case .invalidArchitecture(let found, _) = error.reason else { return false }
            return found == field && error.path == "dir/broken.json"
        }
    }

    @Test func rowsThatAreNoHeadsCannotBePermuted() throws {
        let text = """
            {"extends": "llama", "architecture": "odd",
             "huggingface": {"architectures": ["OddForCausalLM"]},
             "tensors": {"model.norm.weight": {"shape": ["1"], "change": "permute-q"}}}
            """
        let library = try ArchitectureLibrary(adding: [("odd.json", Array(text.utf8))])
        let architecture = try library.architecture(forConfig: ["architectures": ["OddForCausalLM"]])
        #expect {
            try ModelDescription(config: ArchitectureFixture.named("llama").config, architecture: architecture)
        } throws: { error in
            guard case .invalidArchitecture("tensors.model.norm.weight.change", _)? = (error as? ModelError)?.reason else {
                return false
            }
            return true
        }
    }

    @Test(arguments: ["", "[]", "{", #"{"architecture": ""}"#]) func aFileThatIsNoArchitectureIsRefused(text: String) {
        #expect(throws: ModelError.self) { try ArchitectureLibrary(adding: [("x.json", Array(text.utf8))]) }
    }
}
