import Formats
import Foundation
import Models

/// Types for the tensors of a model that together take no more bytes than a mixture of llama.cpp's would.
///
///     minimize  Σ_t κ_t ε²(type_t) φ(rank_t)    with    Σ_t bytes(t, type_t, rank_t) ≤ budget
///
/// κ: how far a model's distribution moves per relative squared error of one tensor; by role, as measured on a model with
/// nothing but the weights of that role rounded. ε: the relative error of a type on a trained weight. φ: what a low-rank residual
/// leaves, where there are such. Every tensor starts with the smallest type and no residual; then, again and again, the step to a
/// larger type or rank that lowers the sum most per byte is taken, as long as one fits. That is within one step of the best choice,
/// because the types of a ladder are convex, and φ is: each step up gains less per byte than the one before.
///
/// llama.cpp's mixtures leave small models with an embedding of 8 bits and layers of 4, since rows that are no multiple of
/// 256 have no 6-bit type; dealing the same bytes out by what they gain halves the damage.
struct TypeBudget {
    struct Weight {
        /// The name in GGUF, which experts that are stacked share.
        var name: String
        var shape: [Int]
        var role: TensorRole
        /// Whether an embedding is the head, too.
        var isTied: Bool
        /// Whether a low-rank residual may stand beside it.
        var takesResidual: Bool
    }

    /// What a weight gets.
    struct Share: Equatable {
        var type: GGMLType
        /// Of the residual; 0 for none.
        var rank = 0
    }

    /// The largest sum of bytes.
    let byteCount: Int
    /// The residual that weights may have, if any.
    var residual: ResidualRounding?

    /// - Returns: the share of each weight, by name; `nil` when even the smallest types do not fit.
    func shares(for weights: [Weight]) -> [String: Share]? {
        var shares = weights.map { Share(type: Self.ladder(columnCount: $0.shape.last ?? 1)[0].type) }
        var used = zip(weights, shares).reduce(0) { $0 + byteCount($1.0, $1.1) }
        guard used <= byteCount else { return nil }
        // Tensors of one role share its sensitivity.
        let counts = weights.reduce(into: [TensorRole: Double]()) { $0[$1.role, default: 0] += 1 }
        while let step = bestStep(weights, counts, shares, room: byteCount - used) {
            used += step.byteCount
            shares[step.weight] = step.share
        }
        return Dictionary(uniqueKeysWithValues: zip(weights.map(\.name), shares))
    }

    private func bestStep(
        _ weights: [Weight], _ counts: [TensorRole: Double], _ shares: [Share], room: Int
    ) -> (weight: Int, share: Share, byteCount: Int)? {
        var best: (weight: Int, share: Share, byteCount: Int, gain: Double)?
        for (index, (weight, now)) in zip(weights, shares).enumerated() {
            for next in steps(from: now, of: weight) {
                let more = byteCount(weight, next) - byteCount(weight, now)
                guard more <= room else { continue }
                let gain = Self.sensitivity(weight) / counts[weight.role]! * (error(weight, now) - error(weight, next)) / Double(more)
                // Of equals the first, so that early layers come first.
                if gain > best?.gain ?? 0 { best = (index, next, more, gain) }
            }
        }
        return best.map { ($0.weight, $0.share, $0.byteCount) }
    }

    /// One type, or one step of rank, further.
    private func steps(from share: Share, of weight: Weight) -> [Share] {
        let ladder = Self.ladder(columnCount: weight.shape.last ?? 1)
        var steps: [Share] = []
        if let place = ladder.firstIndex(where: { $0.type == share.type }), place + 1 < ladder.count {
            steps.append(Share(type: ladder[place + 1].type, rank: share.rank))
        }
        let rank = share.rank + ResidualRounding.rankStep
        if weight.takesResidual, residual?.fits(weight.shape, rank: rank) == true { steps.append(Share(type: share.type, rank: rank)) }
        return steps
    }

    /// ε² of what type and residual leave.
    private func error(_ weight: Weight, _ share: Share) -> Double {
        let ladder = Self.ladder(columnCount: weight.shape.last ?? 1)
        let nearest = ladder.first { $0.type == share.type }?.error ?? 0
        return nearest * Self.left(byRank: Double(share.rank) / Double(weight.shape.min() ?? 1))
    }

    private func byteCount(_ weight: Weight, _ share: Share) -> Int {
        Self.byteCount(weight.shape, share.type)
            + (share.rank == 0 ? 0 : residual?.byteCount(weight.shape, rank: share.rank, name: weight.name) ?? 0)
    }

    /// Bytes in a file, where every tensor begins at a multiple of 32.
    static func byteCount(_ shape: [Int], _ type: GGMLType) -> Int {
        (shape.reduce(1, *) / type.blockSize * type.typeSize + 31) / 32 * 32
    }

    // MARK: - What was measured

    private struct Rung {
        let type: GGMLType
        /// ε²: rounding to nearest, mean over MLP weights of three layers of a trained model.
        let error: Double
    }

    private static func ladder(columnCount: Int) -> [Rung] {
        if columnCount % 256 == 0 {
            return [
                Rung(type: .q2_K, error: 0.0864), Rung(type: .q3_K, error: 0.0235), Rung(type: .iq4_xs, error: 0.00612),
                Rung(type: .q5_K, error: 0.00136), Rung(type: .q6_K, error: 0.000333),
                Rung(type: .q8_0, error: 0.0000306),
            ]
        }
        guard columnCount % 32 == 0 else { return [Rung(type: .f16, error: 0)] }
        return [
            Rung(type: .iq4_nl, error: 0.00602), Rung(type: .q5_0, error: 0.00194), Rung(type: .q5_1, error: 0.00149),
            Rung(type: .q8_0, error: 0.0000306),
        ]
    }

    /// φ, the share of the divergence that a residual leaves; its rank is a fraction of the weight's smaller side. Fitted to SmolLM2-135M
    /// without a grid, linear weights in IQ4_NL by GPTQ, factors in Q4_0: 0.0543 without residual, 0.0359 with rank 32.
    private static func left(byRank fraction: Double) -> Double { exp(-7.5 * fraction) }

    /// κ of all tensors of a role together, in units of that of all query projections: the divergence of SmolLM2-135M on
    /// WikiText-2 when nothing but the role is rounded to Q4_0, 0.014 for q. Embeddings count almost twice, since no Hessian
    /// compensates their errors; that of an embedding that is no head, and of a head that is none, are estimates.
    private static func sensitivity(_ weight: Weight) -> Double {
        switch weight.role {
        case .v: 5.4
        case .o: 0.8
        case .gate, .expertGate, .sharedExpertGate: 1.7
        case .up, .expertUp, .sharedExpertUp: 3.3
        case .gateUp: 5
        case .down, .expertDown, .sharedExpertDown: 7.1
        case .qkv: 7.4
        case .embedding: weight.isTied ? 11 : 3
        case .head: 8
        default: 1
        }
    }
}
