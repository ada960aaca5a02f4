import Formats

/// The layer in a GGUF tensor name, `blk.N.…`.
func layerInName(_ name: String) -> Int? {
    guard name.hasPrefix("blk.") else { return nil }
    return Int(name.dropFirst(4).prefix { $0 != "." })
}

/// Broad kinds of tensors, by GGUF name; the first that matches.
enum MixtureCategory {
    case output, tokenEmbedding, attentionQKV, attentionKVB, attentionV, attentionK, attentionQ, attentionOutput
    case ffnUp, ffnGate, ffnDown, other

    init(_ name: String) {
        let rules: [(String, MixtureCategory)] = [
            ("attn_qkv.weight", .attentionQKV), ("attn_kv_b.weight", .attentionKVB), ("attn_v.weight", .attentionV),
            ("attn_k.weight", .attentionK), ("attn_q.weight", .attentionQ), ("attn_output.weight", .attentionOutput),
            ("ffn_up", .ffnUp), ("ffn_gate", .ffnGate), ("ffn_down", .ffnDown),
        ]
        if name == "output.weight" {
            self = .output
        } else if name == "token_embd.weight" || name == "per_layer_token_embd.weight" {
            self = .tokenEmbedding
        } else {
            self = rules.first { name.contains($0.0) }?.1 ?? .other
        }
    }

    /// Fused tensors that hold the values count as values.
    var isValueLike: Bool { self == .attentionV || self == .attentionQKV || self == .attentionKVB }
}

/// The walk over a model's tensors in file order; some choices depend on how many of a kind came before.
struct MixtureWalk {
    let mixture: Mixture
    let model: MixtureModel
    let hasImportance: Bool
    let valueCount: Int
    let isTied: Bool
    private var valuesSeen = 0, downsSeen = 0, gatesSeen = 0, upsSeen = 0

    init(mixture: Mixture, model: MixtureModel, hasImportance: Bool, valueCount: Int, isTied: Bool) {
        self.mixture = mixture
        self.model = model
        self.hasImportance = hasImportance
        self.valueCount = valueCount
        self.isTied = isTied
    }

    mutating func type(of name: String, shape: [Int]) -> GGMLType {
        let category = MixtureCategory(name)
        switch category {
        case _ where category == .output || isTied && category == .tokenEmbedding:
            if mixture == .mxfp4_moe || (shape.last ?? 1) % mixture.baseType.blockSize != 0 { return .q8_0 }
            if mixture.isTiny || mixture == .iq3_xxs { return .q5_K }
            return mixture.baseType == .q8_0 ? .q8_0 : .q6_K
        case _ where mixture == .mxfp4_moe: return shape.count > 2 && shape[shape.count - 3] > 1 ? .mxfp4 : .q8_0
        case .tokenEmbedding: return embeddingType
        case _ where mixture.isTiny: return tinyType(category)
        case _ where category.isValueLike:
            defer { valuesSeen += 1 }
            return valueType
        case .attentionK where model.expertCount == 8: return .q8_0
        case .attentionK, .attentionQ:
            switch mixture {
            case .iq3_xs: return .iq3_xxs
            case .iq3_xxs: return .iq2_s
            default: return mixture.baseType
            }
        case .ffnDown:
            defer { downsSeen += 1 }
            return downType(layer: self.layer(name, seen: downsSeen))
        case .ffnGate:
            defer { gatesSeen += 1 }
            return middleType(layer: self.layer(name, seen: gatesSeen))
        case .ffnUp:
            defer { upsSeen += 1 }
            return middleType(layer: self.layer(name, seen: upsSeen))
        case .attentionOutput: return attentionOutputType
        default: return mixture.baseType
        }
    }

    /// With experts, several tensors share a layer and the name says which.
    private func layer(_ name: String, seen: Int) -> Int { model.expertCount > 1 ? layerInName(name) ?? 0 : seen }

    private var embeddingType: GGMLType {
        switch mixture {
        case .iq2_xxs, .iq2_xs, .iq1_s, .iq1_m: .q2_K
        case .iq2_s, .iq2_m, .iq3_xxs: .iq3_s
        case .tq1_0, .tq2_0: .q4_K
        default: mixture.baseType
        }
    }

    /// The mixtures around two bits and one.
    private mutating func tinyType(_ category: MixtureCategory) -> GGMLType {
        let better: GGMLType = mixture == .iq2_s || mixture == .iq2_m ? .iq3_s : .q2_K
        switch category {
        case _ where category.isValueLike:
            valuesSeen += 1
            return model.groupSize >= 4 || model.expertCount >= 4 ? .q4_K : better
        case .attentionK where model.expertCount == 8: return .q4_K
        case .ffnDown:
            defer { downsSeen += 1 }
            return downsSeen < model.layerCount / 8 ? better : mixture.baseType
        case .attentionOutput:
            if model.expertCount == 8 { return .q5_K }
            switch mixture {
            case .iq1_s, .iq1_m: return .iq2_xxs
            case .iq2_s, .iq2_m: return .iq3_s
            default: return mixture.baseType
            }
        default: return mixture.baseType
        }
    }

    private var valueType: GGMLType {
        if model.expertCount == 8 { return .q8_0 }
        let isShared = model.groupSize >= 4
        var type = mixture.baseType
        switch mixture {
        case .q2_k: type = isShared ? .q4_K : .q3_K
        case .q2_k_s, .iq3_xs, .iq3_s: if isShared { type = .q4_K }
        case .iq3_xxs: type = isShared ? .q4_K : hasImportance ? .iq3_xxs : .iq3_s
        case .iq3_m: type = .q4_K
        case .q3_k_m: type = valuesSeen < 2 ? .q5_K : .q4_K
        case .q3_k_l: type = .q5_K
        case .iq4_nl, .iq4_xs: if isShared { type = .q5_K }
        case .q4_k_m, .q5_k_m: if deservesMoreBits(valuesSeen, of: valueCount) { type = .q6_K }
        case .q4_k_s: if valuesSeen < 4 { type = .q5_K }
        default: break
        }
        return model.is70B && (type == .q3_K || type == .q4_K) ? .q5_K : type
    }

    private func downType(layer: Int) -> GGMLType {
        let count = model.layerCount
        let isEarly = layer < count / 8
        switch mixture {
        case .q2_k: return .q3_K
        case .q2_k_s: return isEarly ? .q4_K : mixture.baseType
        case .iq3_xxs: return hasImportance ? mixture.baseType : isEarly ? .q4_K : .q3_K
        case .iq3_m:
            return isEarly || model.expertCount == 8 && deservesMoreBits(layer, of: count) ? .q4_K : mixture.baseType
        case .q3_k_m: return layer < count / 16 ? .q5_K : .q4_K
        case .q3_k_l: return .q5_K
        case .q4_k_m, .q5_k_m: return deservesMoreBits(layer, of: count) ? .q6_K : mixture.baseType
        case .iq4_nl, .iq4_xs: return isEarly && !hasImportance ? .q5_K : mixture.baseType
        case .q4_k_s: return isEarly ? .q5_K : mixture.baseType
        // Types with a minimum cope better with the first layers, but only with an importance matrix.
        case .q4_0: return isEarly && hasImportance ? .q4_1 : mixture.baseType
        case .q5_0: return isEarly && hasImportance ? .q5_1 : mixture.baseType
        default: return mixture.baseType
        }
    }

    /// Gate and up, which the layers between the first and the last eighth can do with fewer bits.
    private func middleType(layer: Int) -> GGMLType {
        let count = model.layerCount
        return mixture == .iq3_xs && layer >= count / 8 && layer < 7 * count / 8 ? .iq3_xxs : mixture.baseType
    }

    private var attentionOutputType: GGMLType {
        if model.expertCount == 8 {
            switch mixture {
            case .q2_k, .q3_k_s, .q3_k_m, .q4_k_s, .q4_k_m, .iq4_nl, .iq4_xs, .iq3_xxs, .iq3_xs, .iq3_s, .iq3_m: return .q5_K
            default: return mixture.baseType
            }
        }
        switch mixture {
        case .q2_k: return .q3_K
        case .iq3_xxs: return .iq3_s
        case .q3_k_m, .iq3_m: return .q4_K
        case .q3_k_l: return .q5_K
        default: return mixture.baseType
        }
    }
}

/// The first and last eighth of the layers, and every third between.
private func deservesMoreBits(_ layer: Int, of count: Int) -> Bool {
    layer < count / 8 || layer >= 7 * count / 8 || (layer - count / 8) % 3 == 2
}
