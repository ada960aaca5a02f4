import Formats

/// The types that rules of recipes may name, case ignored: those of the formats, and custom ones.
public struct TypeTable: Sendable {
    private var encodings: [String: Encoding] = [:]
    /// As people write them, for suggestions.
    public private(set) var names: [String] = []

    /// The types of ggml and of safetensors.
    public static let builtIn: TypeTable = {
        var table = TypeTable()
        for type in GGMLType.allCases { table.add(type.name, Encoding(type)) }
        for type in DType.allCases where table[type.rawValue] == nil { table.add(type.rawValue, .plain(type)) }
        return table
    }()

    /// The type of a name, or `nil` when there is none.
    public subscript(name: String) -> Encoding? { encodings[name.lowercased()] }

    /// The custom types, by name.
    public var custom: [CustomType] {
        encodings.values.compactMap { if case .custom(let type) = $0 { type } else { nil } }.sorted { $0.name < $1.name }
    }

    /// - Precondition: there is no type of that name.
    mutating func add(_ name: String, _ encoding: Encoding) {
        precondition(encodings.updateValue(encoding, forKey: name.lowercased()) == nil, "type '\(name)' is registered twice")
        names.append(name.lowercased())
    }
}
