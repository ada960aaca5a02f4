import Formats

/// Why a model cannot be understood or converted, in facts; `description` makes the sentence.
public struct ModelError: Error, Sendable, Equatable {
    public enum Reason: Sendable, Equatable {
        /// No architecture file describes this model. `known` lists what could have stood there.
        case unknownArchitecture(name: String, known: [String])
        /// Tensors the architecture needs that the checkpoint does not have (the first few, and how many in all).
        case missingTensors(names: [String], count: Int)
        /// Tensors the architecture has no name for (the first few, and how many in all).
        case unexpectedTensors(names: [String], count: Int)
        /// A key of `config.json` or of the GGUF metadata does not hold what the architecture needs.
        case invalidKey(key: String, found: String, expected: String)
        case missingKey(key: String)
        /// A tensor whose shape contradicts the configuration.
        case shapeMismatch(tensor: String, found: [Int], expected: [Int])
        /// The tokenizer uses something that cannot be carried over faithfully.
        case unsupportedTokenizer(what: String)
        /// Text with a byte that is not UTF-8.
        case invalidText(byteOffset: Int)
        /// A model without a chat template, where one is needed.
        case missingTemplate(known: [String])
        /// A chat template that cannot be read or rendered, or that refuses a conversation.
        case invalidTemplate(name: String, line: Int, why: String)
        /// An architecture file that breaks its own rules.
        case invalidArchitecture(field: String, why: String)
    }

    public var reason: Reason
    /// The file the fact was read from.
    public var path: String?

    public init(_ reason: Reason, path: String? = nil) {
        self.reason = reason
        self.path = path
    }
}

extension ModelError: CustomStringConvertible {
    public var description: String {
        let sentence =
            switch reason {
            case .unknownArchitecture(let name, let known):
                "unknown architecture '\(name)'; known are \(known.joined(separator: ", "))"
            case .missingTensors(let names, let count): "\(count) tensors are missing: \(list(names, of: count))"
            case .unexpectedTensors(let names, let count):
                "\(count) tensors have no place in this architecture: \(list(names, of: count))"
            case .invalidKey(let key, let found, let expected): "'\(key)' is \(found), expected \(expected)"
            case .missingKey(let key): "'\(key)' is missing"
            case .shapeMismatch(let tensor, let found, let expected):
                "tensor '\(tensor)' has shape \(found), expected \(expected)"
            case .unsupportedTokenizer(let what): "the tokenizer cannot be carried over: \(what)"
            case .invalidText(let byteOffset): "the text is not UTF-8 at byte \(byteOffset)"
            case .missingTemplate(let known):
                known.isEmpty
                    ? "the model has no chat template"
                    : "the model has no chat template 'default', only \(known.map { "'\(printable($0))'" }.joined(separator: ", "))"
            case .invalidTemplate(let name, let line, let why): "chat template '\(printable(name))', line \(line): \(why)"
            case .invalidArchitecture(let field, let why): "architecture file, '\(field)': \(why)"
            }
        return path.map { "\($0): \(sentence)" } ?? sentence
    }

    private func list(_ names: [String], of count: Int) -> String {
        names.map { "'\($0)'" }.joined(separator: ", ") + (count > names.count ? ", …" : "")
    }
}
