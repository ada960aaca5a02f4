import Formats

/// The two ways of naming a model's tensors.
public enum NamingConvention: Sendable { case huggingFace, gguf }

extension ModelDescription {
    /// Checks names and shapes of a whole checkpoint against the architecture, before anything is read.
    /// - Throws: `ModelError` with `.unexpectedTensors`, `.missingTensors`, or `.shapeMismatch` for the first wrong shape.
    public func check(_ tensors: [TensorInfo], named convention: NamingConvention) throws(ModelError) {
        var seen = [Set<Int>](repeating: [], count: architecture.tensors.count)
        var unexpected: [String] = []
        for tensor in tensors {
            let match = convention == .gguf ? match(ggufName: tensor.name) : match(name: tensor.name)
            guard let match else {
                let isKnown = convention == .gguf ? isComputed(ggufName: tensor.name) : isIgnored(name: tensor.name)
                if !isKnown { unexpected.append(tensor.name) }
                continue
            }
            seen[match.ruleIndex].insert((match.layer ?? 0) * max(hyperparameters.experts, 1) + (match.expert ?? 0))
            let expected = convention == .gguf ? ggufShape(of: match) : shape(of: match)
            // Some writers drop leading dimensions of one.
            guard tensor.shape.drop(while: { $0 == 1 }) == expected.drop(while: { $0 == 1 }) else {
                throw ModelError(.shapeMismatch(tensor: tensor.name, found: tensor.shape, expected: expected))
            }
        }
        guard unexpected.isEmpty else {
            throw ModelError(.unexpectedTensors(names: unexpected.prefix(5).map { printable($0) }, count: unexpected.count))
        }
        try checkNothingMissing(seen, convention)
    }

    private func checkNothingMissing(_ seen: [Set<Int>], _ convention: NamingConvention) throws(ModelError) {
        var (names, count) = ([String](), 0)
        for (rule, seen) in zip(architecture.tensors, seen) {
            let isNeeded = rule.presence == .required || (rule.presence == .untied && !isTied)
            guard isNeeded else { continue }
            let pattern = convention == .gguf ? rule.ggufName : rule.name
            let layers = pattern.hasLayer ? hyperparameters.layers : 1
            let experts = pattern.hasExpert ? hyperparameters.experts : 1
            count += layers * experts - seen.count
            // Stops after five names, so a hostile count of layers or experts costs nothing.
            search: for layer in 0..<layers where names.count < 5 && seen.count < layers * experts {
                for expert in 0..<experts where !seen.contains(layer * max(hyperparameters.experts, 1) + expert) {
                    names.append(pattern.name(layer: layer, expert: expert))
                    if names.count == 5 { break search }
                }
            }
        }
        guard count == 0 else { throw ModelError(.missingTensors(names: names, count: count)) }
    }
}
