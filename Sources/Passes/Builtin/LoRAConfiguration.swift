import Formats

/// `adapter_config.json` of a LoRA adapter, as PEFT writes it: ranks and scales of the modules it adapts.
struct LoRAConfiguration {
    let path: String
    /// Whether weights are stored `[inputs, outputs]` in modules that can be so.
    let isTransposed: Bool
    private let rank: Int
    private let alpha: Double
    private let isRankStabilised: Bool
    private let ranks: [(pattern: Pattern, value: JSONValue)]
    private let alphas: [(pattern: Pattern, value: JSONValue)]

    /// Settings that make an adapter something else than W + scale · B A, and what they are.
    private static let unsupported = [
        ("use_dora", "DoRA, whose magnitudes renormalise every merged row"), ("use_qalora", "QALoRA"),
        ("alora_invocation_tokens", "an activated LoRA, which works on some tokens only"),
        ("trainable_token_indices", "trained tokens"), ("target_parameters", "adapted parameters"),
        ("layer_replication", "replicated layers"), ("use_bdlora", "a block-diagonal LoRA"), ("arrow_config", "Arrow routing"),
        ("kasa_config", "KaSA"), ("velora_config", "VeLoRA"), ("monteclora_config", "MonteCLoRA"),
    ]
    /// Ways of making a new adapter that leave the base weights as they are.
    private static let plainStarts = ["gaussian", "eva", "orthogonal", "true", "false"]

    /// - Throws: `FormatError` naming the file and the key that is wrong, or that asks for something that is no plain LoRA.
    init(path: String) throws(FormatError) {
        self.path = path
        do throws(FormatError) {
            let config = try JSONValue(parsing: MappedFile(path: path).bytes)
            guard config.object != nil else {
                throw FormatError(.invalid(field: "the configuration", found: config.kind, expected: "an object"))
            }
            let type = config["peft_type"]?.string ?? "LORA"
            guard type == "LORA" else { throw FormatError(.unsupported(what: "an adapter of type \(type)")) }
            for (key, what) in Self.unsupported {
                guard let value = config[key], !value.isNull, value.bool != false, value.array?.isEmpty != true,
                    value.object?.isEmpty != true
                else { continue }
                throw FormatError(.unsupported(what: "\(what) ('\(key)')"))
            }
            if let start = config["init_lora_weights"]?.string, !Self.plainStarts.contains(start.lowercased()) {
                throw FormatError(
                    .unsupported(what: "an adapter that begins by changing the base weights ('init_lora_weights' is '\(start)')"))
            }
            isTransposed = config["fan_in_fan_out"]?.bool ?? false
            isRankStabilised = config["use_rslora"]?.bool ?? false
            // Both are 8 in PEFT when they are not said.
            alpha = try Self.alpha(config["lora_alpha"] ?? 8, key: "lora_alpha")
            rank = try Self.rank(config["r"] ?? 8, key: "r")
            ranks = try Self.patterns(config, "rank_pattern")
            alphas = try Self.patterns(config, "alpha_pattern")
            for (_, value) in ranks { _ = try Self.rank(value, key: "rank_pattern") }
            for (_, value) in alphas { _ = try Self.alpha(value, key: "alpha_pattern") }
        } catch {
            throw error.at(path: path)
        }
    }

    /// The rank that a module's pair must have.
    func rank(of module: String) -> Int {
        ranks.first { $0.pattern.matches(module) }?.value.integer ?? rank
    }

    /// alpha / rank, or alpha / √rank for rank-stabilised adapters.
    func scale(of module: String) -> Double {
        let alpha = alphas.first { $0.pattern.matches(module) }?.value.double ?? alpha
        let rank = Double(rank(of: module))
        return alpha / (isRankStabilised ? rank.squareRoot() : rank)
    }

    private static func rank(_ value: JSONValue, key: String) throws(FormatError) -> Int {
        guard let rank = value.integer, rank > 0 else {
            throw FormatError(.invalid(field: "'\(key)'", found: value.text(pretty: false), expected: "an integer above 0"))
        }
        return rank
    }

    private static func alpha(_ value: JSONValue, key: String) throws(FormatError) -> Double {
        guard let alpha = value.double, alpha.isFinite else {
            throw FormatError(.invalid(field: "'\(key)'", found: value.text(pretty: false), expected: "a number"))
        }
        return alpha
    }

    /// Regular expressions for the end of a module's name, the first that matches counts.
    private static func patterns(_ config: JSONValue, _ key: String) throws(FormatError) -> [(pattern: Pattern, value: JSONValue)] {
        guard let value = config[key], !value.isNull else { return [] }
        guard let members = value.object else {
            throw FormatError(.invalid(field: "'\(key)'", found: value.kind, expected: "an object"))
        }
        var patterns: [(pattern: Pattern, value: JSONValue)] = []
        for text in members.keys {
            do throws(Pattern.Failure) {
                patterns.append((try Pattern(regex: "(.*\\.)?(\(text))$"), members[text] ?? .null))
            } catch {
                throw FormatError(.invalid(field: "'\(key)'", found: "'\(text)', which \(error.why)", expected: "regular expressions"))
            }
        }
        return patterns
    }
}
