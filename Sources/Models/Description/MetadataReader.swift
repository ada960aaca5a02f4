import Formats

/// Typed access to GGUF metadata. A value of the wrong type or out of range is an error that names the key.
struct MetadataReader {
    let metadata: GGUFMetadata
    private let architecture: String

    init(_ metadata: GGUFMetadata, architecture: String) {
        self.metadata = metadata
        self.architecture = architecture
    }

    /// A key with the architecture's name filled in.
    func key(_ pattern: String) -> String {
        pattern.hasPrefix("{arch}") ? architecture + pattern.dropFirst("{arch}".count) : pattern
    }

    subscript(_ pattern: String) -> GGUFValue? { metadata[key(pattern)] }

    private func invalid(_ pattern: String, _ value: GGUFValue, expected: String) -> ModelError {
        ModelError(.invalidKey(key: key(pattern), found: describe(value), expected: expected))
    }

    func integer(_ pattern: String?, in range: ClosedRange<Int>) throws(ModelError) -> Int? {
        guard let pattern, let value = self[pattern] else { return nil }
        guard let integer = value.integer, range.contains(integer) else {
            throw invalid(pattern, value, expected: "an integer from \(range.lowerBound) to \(range.upperBound)")
        }
        return integer
    }

    func positive(_ pattern: String) throws(ModelError) -> Double? {
        guard let value = self[pattern] else { return nil }
        guard let number = value.decimal, ConfigReader.isUsable(number) else {
            throw invalid(pattern, value, expected: "a positive number")
        }
        return number
    }

    func string(_ pattern: String) throws(ModelError) -> String? {
        guard let value = self[pattern] else { return nil }
        guard let string = value.string else { throw invalid(pattern, value, expected: "a string") }
        return string
    }

    /// The vocabulary of a file without a key for it: its tokens, or the rows of its embedding.
    func vocabulary(_ tensors: [TensorInfo], _ architecture: Architecture) throws(ModelError) -> Int? {
        let range = Hyperparameter.vocabulary.limits
        if let tokens = metadata["tokenizer.ggml.tokens"] {
            guard let array = tokens.array, range.contains(array.count) else {
                throw invalid("tokenizer.ggml.tokens", tokens, expected: "an array of tokens")
            }
            return array.count
        }
        let name = architecture.tensors.first { $0.role == .embedding }?.ggufName.text
        return tensors.first { $0.name == name }.flatMap { range.contains($0.rowCount) ? $0.rowCount : nil }
    }
}

extension GGUFValue {
    /// Any number as the `Double` with the fewest digits that stands for it: an F32 of 1e-5 gives 1e-5, and not the
    /// longer number the `Float` really is.
    var decimal: Double? {
        if case .f32(let value) = self { return Double("\(value)") }
        return number
    }
}
