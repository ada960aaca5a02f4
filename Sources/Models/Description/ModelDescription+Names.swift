import Formats

/// What a tensor's name says: its kind, and which layer and expert it belongs to.
public struct TensorMatch: Sendable, Hashable {
    public let rule: TensorRule
    /// The rule's place in the architecture.
    package let ruleIndex: Int
    public let layer: Int?
    public let expert: Int?

    public var role: TensorRole { rule.role }
    /// The name in Hugging Face files, which is also the name inside the graph.
    public var name: String { rule.name.name(layer: layer, expert: expert) }
    /// The name in GGUF files; experts that are stacked share one.
    public var ggufName: String { rule.ggufName.name(layer: layer, expert: expert) }
}

extension ModelDescription {
    /// Recognises a Hugging Face name; `nil` when the architecture has no such tensor or this model no such layer.
    public func match(name: String) -> TensorMatch? {
        match(NameSkeleton(name), architecture.rulesByName, \.name)
    }

    /// Recognises a GGUF name. Of stacked experts the match names no single one.
    public func match(ggufName: String) -> TensorMatch? {
        match(NameSkeleton(ggufName), architecture.rulesByGGUFName, \.ggufName)
    }

    private func match(
        _ skeleton: NameSkeleton, _ index: [String: Int], _ pattern: KeyPath<TensorRule, TensorPattern>
    ) -> TensorMatch? {
        guard let position = index[skeleton.text] else { return nil }
        let rule = architecture.tensors[position]
        guard (skeleton.layer != nil) == rule[keyPath: pattern].hasLayer,
            (skeleton.expert != nil) == rule[keyPath: pattern].hasExpert,
            skeleton.layer ?? 0 < hyperparameters.layers,
            skeleton.expert == nil || skeleton.expert ?? 0 < hyperparameters.experts,
            // A head that stands beside the embedding it is a copy of.
            !(rule.presence == .untied && isTied && isIgnored(name: rule.name.text))
        else { return nil }
        return TensorMatch(rule: rule, ruleIndex: position, layer: skeleton.layer, expert: skeleton.expert)
    }

    /// Whether a Hugging Face tensor is one of those that are of no use and dropped (old rotary tables, attention masks).
    public func isIgnored(name: String) -> Bool {
        architecture.ignored.contains { $0.hasPrefix("*") ? name.hasSuffix($0.dropFirst()) : name == $0 }
    }

    /// Whether a GGUF tensor is computed from the configuration and has no Hugging Face counterpart.
    public func isComputed(ggufName: String) -> Bool { architecture.computed.contains { $0.name == ggufName } }

    /// The shape a Hugging Face tensor must have, outermost first.
    public func shape(of match: TensorMatch) -> [Int] { shapes[match.ruleIndex] }

    /// The shape a GGUF tensor must have, outermost first: stacked experts come before the rest.
    public func ggufShape(of match: TensorMatch) -> [Int] {
        (match.rule.stacksExperts ? [hyperparameters.experts] : []) + shapes[match.ruleIndex]
    }
}
