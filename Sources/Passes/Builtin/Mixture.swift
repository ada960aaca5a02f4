import Formats
import Models

/// A named assignment of types to the tensors of a model, as llama.cpp's quantizer makes it: a base type, more bits for
/// the tensors that suffer most, and a smaller block where a row does not divide.
public enum Mixture: String, Sendable, CaseIterable {
    case f32, f16, bf16
    case q4_0, q4_1, q5_0, q5_1, q8_0
    case q2_k, q2_k_s, q3_k_s, q3_k_m, q3_k_l, q4_k_s, q4_k_m, q5_k_s, q5_k_m, q6_k
    case iq4_nl, iq4_xs
    case iq3_xxs, iq3_xs, iq3_s, iq3_m
    case iq2_xxs, iq2_xs, iq2_s, iq2_m
    case iq1_s, iq1_m
    case tq1_0, tq2_0
    case mxfp4_moe

    /// Finds a mixture by name, ignoring case; `q4_k` means `q4_k_m`, as llama.cpp has it.
    public init?(name: String) {
        let lower = name.lowercased()
        self.init(rawValue: ["q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m"][lower] ?? lower)
    }

    /// The type of everything that no exception names.
    public var baseType: GGMLType { types.base }

    /// What `general.file_type` of a GGUF file says of this mixture.
    public var fileType: GGUFFileType { types.file }

    private var types: (base: GGMLType, file: GGUFFileType) {
        switch self {
        case .f32: (.f32, .f32)
        case .f16: (.f16, .f16)
        case .bf16: (.bf16, .bf16)
        case .q4_0: (.q4_0, .q4_0)
        case .q4_1: (.q4_1, .q4_1)
        case .q5_0: (.q5_0, .q5_0)
        case .q5_1: (.q5_1, .q5_1)
        case .q8_0: (.q8_0, .q8_0)
        case .q2_k: (.q2_K, .q2_K)
        case .q2_k_s: (.q2_K, .q2_K_S)
        case .q3_k_s: (.q3_K, .q3_K_S)
        case .q3_k_m: (.q3_K, .q3_K_M)
        case .q3_k_l: (.q3_K, .q3_K_L)
        case .q4_k_s: (.q4_K, .q4_K_S)
        case .q4_k_m: (.q4_K, .q4_K_M)
        case .q5_k_s: (.q5_K, .q5_K_S)
        case .q5_k_m: (.q5_K, .q5_K_M)
        case .q6_k: (.q6_K, .q6_K)
        case .iq4_nl: (.iq4_nl, .iq4_NL)
        case .iq4_xs: (.iq4_xs, .iq4_XS)
        case .iq3_xxs: (.iq3_xxs, .iq3_XXS)
        case .iq3_xs: (.iq3_s, .iq3_XS)
        case .iq3_s: (.iq3_s, .iq3_S)
        case .iq3_m: (.iq3_s, .iq3_M)
        case .iq2_xxs: (.iq2_xxs, .iq2_XXS)
        case .iq2_xs: (.iq2_xs, .iq2_XS)
        case .iq2_s: (.iq2_xs, .iq2_S)
        case .iq2_m: (.iq2_s, .iq2_M)
        case .iq1_s: (.iq1_s, .iq1_S)
        case .iq1_m: (.iq1_m, .iq1_M)
        case .tq1_0: (.tq1_0, .tq1_0)
        case .tq2_0: (.tq2_0, .tq2_0)
        case .mxfp4_moe: (.mxfp4, .mxfp4)
        }
    }
}

extension Mixture {
    /// Whether the choice depends on the model's layers and heads, and not on names and shapes alone.
    func looksAtLayers(hasImportance: Bool) -> Bool {
        switch self {
        case .q4_0, .q5_0: hasImportance
        case .f32, .f16, .bf16, .q4_1, .q5_1, .q8_0, .q6_k, .tq1_0, .tq2_0: false
        default: true
        }
    }

    /// Whether the types are so small that the choice has rules of its own.
    var isTiny: Bool { [.iq2_xxs, .iq2_xs, .iq2_s, .iq2_m, .iq1_s, .iq1_m].contains(self) }
}

/// What a mixture looks at in a model.
struct MixtureModel {
    /// For mixtures that look at no layers.
    static let unknown = MixtureModel(layerCount: 0, headCount: 0, kvHeadCount: 0, expertCount: 0, architecture: "")

    var layerCount: Int
    var headCount: Int
    var kvHeadCount: Int
    var expertCount: Int
    /// `general.architecture` of the GGUF file.
    var architecture: String

    /// Query heads that share one key-value head.
    var groupSize: Int { kvHeadCount > 0 ? headCount / kvHeadCount : 0 }
    /// The shape that llama.cpp calls 70B, whose shared value weights get more bits.
    var is70B: Bool {
        layerCount == 80 && (architecture == "qwen2" || architecture == "llama" && headCount != kvHeadCount)
    }
}

/// A type chosen for a tensor, and why.
struct MixtureChoice: Equatable {
    var type: GGMLType
    /// The type the mixture wanted before the shape ruled it out, when that is so.
    var wanted: GGMLType?
}

extension Mixture {
    /// Chooses a type for each tensor.
    ///
    /// - Parameters:
    ///   - tensors: GGUF names and shapes, outermost dimension first, in any order.
    ///   - hasImportance: whether there is an importance matrix, for any tensor.
    /// - Returns: by GGUF name; tensors that keep their encoding (norms, routers, vectors) are not in it.
    func choices(
        for tensors: [(name: String, shape: [Int])], in model: MixtureModel, hasImportance: Bool = false
    ) -> [String: MixtureChoice] {
        let ordered = tensors.sorted { a, b in
            let (layerA, layerB) = (layerInName(a.name) ?? -1, layerInName(b.name) ?? -1)
            return layerA == layerB ? Array(a.name.utf8).lexicographicallyPrecedes(Array(b.name.utf8)) : layerA < layerB
        }
        var walk = MixtureWalk(
            mixture: self, model: model, hasImportance: hasImportance,
            valueCount: tensors.count { MixtureCategory($0.name).isValueLike },
            isTied: !tensors.contains { MixtureCategory($0.name) == .output })
        var choices: [String: MixtureChoice] = [:]
        for tensor in ordered where isQuantizable(name: tensor.name, shape: tensor.shape) {
            var wanted = baseType
            if baseType.dtype == nil { wanted = walk.type(of: tensor.name, shape: tensor.shape) }
            let type = fitting(wanted, columnCount: tensor.shape.last ?? 1)
            choices[tensor.name] = MixtureChoice(type: type, wanted: type == wanted ? nil : wanted)
        }
        return choices
    }
}

/// The type to take instead when a row is not a whole number of blocks: a smaller block of about the same width, then F16.
func fitting(_ type: GGMLType, columnCount: Int) -> GGMLType {
    guard columnCount % type.blockSize != 0 else { return type }
    let smaller: GGMLType =
        switch type {
        case .iq1_s, .iq1_m, .iq2_xxs, .iq2_xs, .iq2_s, .iq3_xxs, .iq3_s, .iq4_xs: .iq4_nl
        case .q2_0, .q2_K, .q3_K, .tq1_0, .tq2_0: .q4_0
        case .q4_K: .q5_0
        case .q5_K: .q5_1
        case .q6_K: .q8_0
        default: type
        }
    return columnCount % smaller.blockSize == 0 ? smaller : .f16
}

/// Whether llama.cpp's quantizer would touch a tensor: a matrix (or a stack of them) named `...weight` that is neither
/// a norm, a router nor one of the small tables that are kept as they are.
func isQuantizable(name: String, shape: [Int]) -> Bool {
    // ggml counts dimensions without trailing ones, which are the outermost ones here.
    guard shape.drop(while: { $0 == 1 }).count >= 2, name.hasSuffix("weight") else { return false }
    let kept = [
        "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj",
        "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight",
        "time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight",
        "time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight", "time_mix_a0.weight", "time_mix_a1.weight",
        "time_mix_a2.weight", "time_mix_g1.weight", "time_mix_g2.weight", "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight", "attn_rel_b.weight", ".position_embd",
        "sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger", "a.rvq.codebook",
        "mm.a.code_embd",
    ]
    return name != "position_embd.weight" && name != "token_types.weight" && !kept.contains { name.contains($0) }
}
