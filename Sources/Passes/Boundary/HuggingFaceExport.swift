import Formats
import Models

/// A graph as a Hugging Face model directory has it.
struct HuggingFaceExport {
    var tensors: [LazyTensor]
    var files: HuggingFaceFiles

    /// - Throws: `ModelError` when a GGUF model cannot be understood.
    init(_ graph: TensorGraph, library: ArchitectureLibrary, context: PassContext) throws {
        switch graph.metadata {
        case .huggingFace(let files):
            self.files = files
            tensors = graph.tensors
        case .gguf(let metadata):
            guard let model = graph.model else { throw graph.modelProblem ?? ModelError(.missingKey(key: "general.architecture")) }
            tensors = graph.tensors.filter { !model.isComputed(ggufName: $0.info.name) }
            let configuration = try model.huggingFaceConfiguration(
                metadata: metadata, tensors: graph.storedInfos, dtype: .bf16, library: library)
            files = HuggingFaceFiles(config: configuration.config)
            for (name, bytes) in try TokenizerDescription(gguf: metadata).huggingFaceFiles() {
                files.files[name] = TensorBytes(bytes)
            }
            let generation = configuration.generationConfig.text(pretty: true) + "\n"
            files.files["generation_config.json"] = TensorBytes(Array(generation.utf8))
        case .safetensors:
            throw ModelError(.missingKey(key: "config.json"))
        }
        try dequantizeBlocks(context)
        setDType()
    }

    /// Safetensors hold no blocks: what is still packed is widened.
    private mutating func dequantizeBlocks(_ context: PassContext) throws {
        var count = 0
        for index in tensors.indices {
            if case .split = tensors[index].info.encoding {
                tensors[index] = try tensors[index].encoded(as: .plain(.f32)).noting("dequantized to F32 for safetensors")
            }
            switch tensors[index].info.encoding {
            case .block, .custom: break
            default: continue
            }
            tensors[index] = try tensors[index].encoded(as: .plain(.bf16)).noting("dequantized to BF16 for safetensors")
            count += 1
        }
        if count > 0 {
            context.report(.note, "\(count) tensors in block types are stored as BF16: safetensors has no such types")
        }
    }

    /// `torch_dtype` names what most of the weights are.
    private mutating func setDType() {
        var bytes: [DType: Int] = [:]
        for tensor in tensors {
            if case .plain(let dtype) = tensor.info.encoding, dtype.isFloatingPoint { bytes[dtype, default: 0] += tensor.info.byteCount }
        }
        let names: [DType: String] = [.f32: "float32", .f16: "float16", .bf16: "bfloat16", .f64: "float64"]
        guard let dtype = bytes.max(by: { ($0.value, $0.key.rawValue) < ($1.value, $1.key.rawValue) })?.key,
            let name = names[dtype], var config = files.config.object
        else { return }
        let key = config["dtype"] != nil && config["torch_dtype"] == nil ? "dtype" : "torch_dtype"
        config[key] = .string(name)
        files.config = .object(config)
    }
}
