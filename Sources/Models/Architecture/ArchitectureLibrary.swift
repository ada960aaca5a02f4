import Formats

/// The architectures that can be recognised: the built-in ones, and those of files a user names.
public struct ArchitectureLibrary: Sendable {
    /// In the order they are tried: the user's files first, then the built-in ones.
    public private(set) var architectures: [Architecture]
    /// Every file by identifier, with what it extends already merged in.
    private var documents: [String: JSONValue]

    /// The architectures in the binary.
    public static let builtIn: ArchitectureLibrary = {
        do throws(ModelError) {
            return try ArchitectureLibrary(builtInFiles)
        } catch {
            fatalError("built-in architectures: \(error)")
        }
    }()

    private static let builtInFiles: [(path: String, contents: [UInt8])] = [
        ("llama.json", PackageResources.llama_json),
        ("mistral.json", PackageResources.mistral_json),
        ("mixtral.json", PackageResources.mixtral_json),
        ("qwen2.json", PackageResources.qwen2_json),
        ("qwen3.json", PackageResources.qwen3_json),
        ("qwen2moe.json", PackageResources.qwen2moe_json),
        ("qwen3moe.json", PackageResources.qwen3moe_json),
        ("gemma2.json", PackageResources.gemma2_json),
        ("gemma3.json", PackageResources.gemma3_json),
        ("phi3.json", PackageResources.phi3_json),
    ]

    private init(_ files: [(path: String, contents: [UInt8])]) throws(ModelError) {
        architectures = []
        documents = [:]
        architectures = try read(files)
    }

    /// The built-in architectures and those of further files, which may extend the built-in ones and each other, and
    /// which win where both describe a model.
    /// - Throws: `ModelError` with the file's path, and `.invalidArchitecture` naming the field that is wrong.
    public init(adding files: [(path: String, contents: [UInt8])]) throws(ModelError) {
        self = .builtIn
        let added = try read(files)
        architectures = added + architectures.filter { old in !added.contains { $0.identifier == old.identifier } }
    }

    private mutating func read(_ files: [(path: String, contents: [UInt8])]) throws(ModelError) -> [Architecture] {
        var added: [Architecture] = []
        for file in files {
            do throws(ModelError) {
                added.append(try read(file.contents))
            } catch {
                throw ModelError(error.reason, path: file.path)
            }
        }
        return added
    }

    private mutating func read(_ contents: [UInt8]) throws(ModelError) -> Architecture {
        let json: JSONValue
        do throws(FormatError) {
            json = try JSONValue(parsing: contents)
        } catch {
            throw ArchitectureReader.error("file", "is not JSON: \(error)")
        }
        guard case .object(var members) = json else { throw ArchitectureReader.error("file", "is not an object") }
        guard let identifier = members["architecture"]?.string, !identifier.isEmpty else {
            throw ArchitectureReader.error("architecture", "is not a name")
        }
        var document = json
        if let base = members["extends"] {
            guard let name = base.string, let known = documents[name] else {
                throw ArchitectureReader.error(
                    "extends", "is not the name of a known architecture: \(documents.keys.sorted().joined(separator: ", "))")
            }
            members["extends"] = nil
            document = known.merged(with: .object(members))
        }
        let architecture = try Architecture(parsing: document)
        documents[identifier] = document
        return architecture
    }

    /// The architecture of a Hugging Face model: by the first of `architectures`, else by `model_type`.
    /// - Throws: `ModelError.unknownArchitecture` naming what the config says and what is known.
    public func architecture(forConfig config: JSONValue) throws(ModelError) -> Architecture {
        guard config.object != nil else {
            throw ModelError(.invalidKey(key: "config.json", found: describe(config), expected: "an object"))
        }
        let className = config["architectures"]?.array?.first?.string
        if let className {
            if let found = architectures.first(where: { $0.classNames.contains(className) }) { return found }
            throw ModelError(.unknownArchitecture(name: className, known: architectures.flatMap(\.classNames)))
        }
        guard let modelType = config["model_type"]?.string else { throw ModelError(.missingKey(key: "architectures")) }
        if let found = architectures.first(where: { $0.modelTypes.contains(modelType) }) { return found }
        throw ModelError(.unknownArchitecture(name: modelType, known: architectures.flatMap(\.modelTypes)))
    }

    /// The architecture of a GGUF file: by `general.architecture`, and by whether the model has experts.
    /// - Throws: `ModelError.unknownArchitecture` naming what the file says and what is known.
    public func architecture(for metadata: GGUFMetadata) throws(ModelError) -> Architecture {
        guard let value = metadata["general.architecture"] else { throw ModelError(.missingKey(key: "general.architecture")) }
        guard let name = value.string else {
            throw ModelError(.invalidKey(key: "general.architecture", found: describe(value), expected: "a string"))
        }
        let hasExperts = (metadata["\(name).expert_count"]?.integer ?? 0) > 0
        if let found = architectures.first(where: { $0.ggufName == name && $0.hasExperts == hasExperts }) { return found }
        let known = architectures.map { $0.ggufName + ($0.hasExperts ? " (with experts)" : "") }
        throw ModelError(
            .unknownArchitecture(
                name: name + (hasExperts ? " (with experts)" : ""),
                known: known.enumerated().filter { !known[..<$0.offset].contains($0.element) }.map(\.element)))
    }
}

extension JSONValue {
    /// RFC 7396: members of `patch` replace those of the same name, objects are merged, and null removes.
    func merged(with patch: JSONValue) -> JSONValue {
        guard case .object(let changes) = patch else { return patch }
        var result = self.object ?? JSONObject()
        for key in changes.keys {
            guard let change = changes[key] else { continue }
            let merged = (result[key] ?? .null).merged(with: change)
            result[key] = merged.isNull ? JSONValue?.none : merged
        }
        return .object(result)
    }
}

/// A value from a file, as an error shows it.
func describe(_ value: JSONValue) -> String { printable(value.text(), limit: 60) }

/// A value from a file, as an error shows it.
func describe(_ value: GGUFValue) -> String {
    switch value {
    case .string(let text): printable("\"\(text)\"", limit: 60)
    case .array(let array): "an array of \(array.count) \(array.elementType)"
    case .bool(let bool): "\(bool)"
    default: value.integer.map { "\($0)" } ?? value.number.map { "\($0)" } ?? "a \(value.type)"
    }
}
