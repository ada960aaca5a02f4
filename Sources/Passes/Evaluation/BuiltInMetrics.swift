import Models

/// `perplexity`: exp of the mean negative log-likelihood of the tokens that came, and the bits a byte of text would take.
struct Perplexity: Metric, Declared {
    static let declaration = Declaration(
        identifier: "perplexity", summary: "exp of the mean negative log-likelihood of the tokens that came; bits per byte of text.")

    init(options: PassOptions) {}

    var summary: String { "perplexity" }
    var judgesLogits: Bool { false }

    func figures(of text: JudgedText) -> [Figure] {
        let summary = text.summary
        let bits = summary.bitsPerByte.map { Figure("bits_per_byte", title: "bits per byte", value: $0, style: .decimals(4)) }
        return [Figure("perplexity", title: "perplexity", value: summary.perplexity, error: summary.perplexityError, style: .decimals(4))]
            + [bits].compactMap(\.self)
    }
}

/// `kl-divergence`: of the model from the reference, per token in nats.
struct Divergence: Metric, Declared {
    static let declaration = Declaration(
        identifier: "kl-divergence", summary: "Kullback-Leibler divergence from the reference, per token in nats: mean, median, 99 %, largest.")

    init(options: PassOptions) {}

    var summary: String { "kl-divergence" }
    var needsReference: Bool { true }
    var judgesLogits: Bool { false }

    func figures(of text: JudgedText) -> [Figure] {
        guard let divergence = text.summary.divergence else { return [] }
        return [
            Figure("kl_divergence", title: "KL divergence", value: divergence.mean, error: divergence.meanError),
            Figure("kl_divergence_median", title: "  median", value: divergence.median),
            Figure("kl_divergence_p99", title: "  99 %", value: divergence.percentile99),
            Figure("kl_divergence_max", title: "  largest", value: divergence.maximum),
        ]
    }
}

/// `top1-agreement`: how often the model and the reference put the same token first.
struct Agreement: Metric, Declared {
    static let declaration = Declaration(
        identifier: "top1-agreement", summary: "Share of tokens for which the model and the reference put the same token first.")

    init(options: PassOptions) {}

    var summary: String { "top1-agreement" }
    var needsReference: Bool { true }
    var judgesLogits: Bool { false }

    func figures(of text: JudgedText) -> [Figure] {
        guard let divergence = text.summary.divergence else { return [] }
        return [Figure("top1_agreement", title: "same first token", value: divergence.top1Agreement, style: .percent)]
    }
}

/// `logit-rms`: root mean square of the difference of logits.
struct LogitDifference: Metric, Declared {
    static let declaration = Declaration(
        identifier: "logit-rms", summary: "Root mean square of the difference of the model's logits and the reference's.")

    init(options: PassOptions) {}

    var summary: String { "logit-rms" }
    var needsReference: Bool { true }
    var judgesLogits: Bool { false }

    func figures(of text: JudgedText) -> [Figure] {
        guard let divergence = text.summary.divergence else { return [] }
        return [Figure("logit_rms", title: "logit difference", value: divergence.logitRootMeanSquare)]
    }
}
