/// A value of a recipe and the place it stands at.
public struct RecipeNode: Sendable {
    public indirect enum Value: Sendable, Equatable {
        case null
        case boolean(Bool)
        case integer(Int)
        case number(Double)
        case text(String)
        case sequence([RecipeNode])
        case mapping([Entry])
    }

    /// One key of a mapping, in the order of the file; every key is there once.
    public struct Entry: Sendable, Equatable {
        public var key: String
        public var keyLocation: RecipeLocation
        public var value: RecipeNode

        public init(key: String, keyLocation: RecipeLocation, value: RecipeNode) {
            self.key = key
            self.keyLocation = keyLocation
            self.value = value
        }
    }

    public var value: Value
    public var location: RecipeLocation

    public init(_ value: Value, at location: RecipeLocation) {
        self.value = value
        self.location = location
    }

    /// The value of a key, when this is a mapping that has it.
    public subscript(key: String) -> RecipeNode? {
        guard case .mapping(let entries) = value else { return nil }
        return entries.first { $0.key == key }?.value
    }

    /// What stands here, in the words of an error message.
    var found: String {
        switch value {
        case .null: "null"
        case .boolean(let flag): "\(flag)"
        case .integer(let integer): "\(integer)"
        case .number(let number): "\(number)"
        case .text(let text): "text '\(text.count > 60 ? text.prefix(60) + "…" : text)'"
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }
}

extension RecipeNode: Equatable {
    /// Equal values are equal wherever they stand.
    public static func == (a: RecipeNode, b: RecipeNode) -> Bool { a.value == b.value }
}

extension RecipeNode.Entry {
    public static func == (a: Self, b: Self) -> Bool { a.key == b.key && a.value == b.value }
}
