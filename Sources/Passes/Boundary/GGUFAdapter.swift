import Formats
import Models

/// A low-rank addition to a weight, stored beside it: `W + B A / r`.
public struct LowRankAddition: Sendable {
    /// The weight it is added to.
    let weight: String
    /// A, `[r, columns]`.
    let right: LazyTensor
    /// B, `[rows, r]`.
    let left: LazyTensor
}

/// A graph's low-rank additions as a LoRA adapter of llama.cpp (`--lora`): a GGUF file of its own.
///
/// | key | value |
/// |---|---|
/// | `general.type` | `adapter` |
/// | `general.architecture` | that of the model |
/// | `adapter.type` | `lora` |
/// | `adapter.lora.alpha` | 1: each addition is scaled by alpha / r |
///
/// Tensors, for each weight `NAME`: `NAME.lora_a` (A) and `NAME.lora_b` (B), whose rows go the way of the weight's rows.
struct GGUFAdapter {
    let tensors: [LazyTensor]
    let metadata: GGUFMetadata

    init(_ additions: [LowRankAddition], of model: ModelDescription) throws {
        var tensors: [LazyTensor] = []
        for addition in additions {
            guard let match = model.match(name: addition.weight), !match.rule.stacksExperts else {
                preconditionFailure("additions are for single weights of the model")
            }
            tensors.append(addition.right.renamed(match.ggufName + ".lora_a"))
            tensors.append(try addition.left.changed(model.change(of: match)).renamed(match.ggufName + ".lora_b"))
        }
        self.tensors = tensors
        var metadata = GGUFMetadata()
        metadata["general.architecture"] = .string(model.architecture.ggufName)
        metadata["general.type"] = .string("adapter")
        metadata["adapter.type"] = .string("lora")
        metadata["adapter.lora.alpha"] = .f32(1)
        if tensors.contains(where: { if case .block = $0.info.encoding { true } else { false } }) {
            metadata["general.quantization_version"] = .u32(2)
        }
        self.metadata = metadata
    }
}
