import Formats

/// Takes the members of one JSON object of an architecture file, each once; what is left at the end is an error.
struct ArchitectureReader {
    private var members: JSONObject
    private let field: String

    init(_ json: JSONValue, field: String) throws(ModelError) {
        guard case .object(let members) = json else { throw Self.error(field.isEmpty ? "file" : field, "is not an object") }
        self.members = members
        self.field = field
    }

    static func error(_ field: String, _ why: String) -> ModelError {
        ModelError(.invalidArchitecture(field: field, why: why))
    }

    private func path(_ key: String) -> String { field.isEmpty ? key : "\(field).\(key)" }

    /// Refuses members that nobody asked for.
    func finish() throws(ModelError) {
        if let key = members.keys.first { throw Self.error(path(key), "is not a known member") }
    }

    mutating func optionalValue(_ key: String) -> JSONValue? {
        guard let value = members[key] else { return nil }
        members[key] = nil
        return value
    }

    private mutating func value(_ key: String) throws(ModelError) -> JSONValue {
        guard let value = optionalValue(key) else { throw Self.error(path(key), "is missing") }
        return value
    }

    func has(_ key: String) -> Bool { members[key] != nil }

    mutating func object(_ key: String) throws(ModelError) -> ArchitectureReader {
        try ArchitectureReader(try value(key), field: path(key))
    }

    /// The members of an object as they are.
    mutating func optionalMembers(_ key: String) throws(ModelError) -> JSONObject {
        members[key] == nil ? JSONObject() : try object(key).members
    }

    /// The members of an object in their order, each put through `make`.
    mutating func members<T>(
        _ key: String, optional: Bool = false, _ make: (String, JSONValue) throws(ModelError) -> T
    ) throws(ModelError) -> [T] {
        if optional, members[key] == nil { return [] }
        let object = try self.object(key).members
        var made: [T] = []
        for key in object.keys { if let value = object[key] { made.append(try make(key, value)) } }
        return made
    }

    mutating func bool(_ key: String) throws(ModelError) -> Bool {
        guard let bool = try value(key).bool else { throw Self.error(path(key), "is not true or false") }
        return bool
    }

    mutating func optionalInteger(_ key: String, in range: ClosedRange<Int>) throws(ModelError) -> Int? {
        guard let value = optionalValue(key) else { return nil }
        guard let integer = value.integer, range.contains(integer) else {
            throw Self.error(path(key), "is not an integer in \(range)")
        }
        return integer
    }

    mutating func number(_ key: String) throws(ModelError) -> Double {
        guard let number = try optionalNumber(key) else { throw Self.error(path(key), "is missing") }
        return number
    }

    mutating func optionalNumber(_ key: String) throws(ModelError) -> Double? {
        guard let value = optionalValue(key) else { return nil }
        guard let number = value.double, number.isFinite, number > 0 else {
            throw Self.error(path(key), "is not a positive number")
        }
        return number
    }

    mutating func string(_ key: String) throws(ModelError) -> String {
        guard let string = try optionalString(key) else { throw Self.error(path(key), "is missing") }
        return string
    }

    mutating func optionalString(_ key: String) throws(ModelError) -> String? {
        guard let value = optionalValue(key) else { return nil }
        guard let string = value.string, !string.isEmpty else { throw Self.error(path(key), "is not a string with text") }
        return string
    }

    mutating func strings(_ key: String) throws(ModelError) -> [String] {
        guard let strings = try optionalStrings(key) else { throw Self.error(path(key), "is missing") }
        return strings
    }

    mutating func optionalStrings(_ key: String) throws(ModelError) -> [String]? {
        guard let value = optionalValue(key) else { return nil }
        guard let array = value.array else { throw Self.error(path(key), "is not a list") }
        var strings: [String] = []
        for element in array {
            guard let string = element.string, !string.isEmpty else { throw Self.error(path(key), "holds something else than text") }
            strings.append(string)
        }
        return strings
    }

    mutating func expression(_ key: String) throws(ModelError) -> DimensionExpression {
        try Self.expression(try value(key), field: path(key))
    }

    mutating func optionalExpression(_ key: String) throws(ModelError) -> DimensionExpression? {
        guard let value = optionalValue(key) else { return nil }
        return try Self.expression(value, field: path(key))
    }

    mutating func expressions(_ key: String) throws(ModelError) -> [DimensionExpression] {
        var expressions: [DimensionExpression] = []
        for text in try strings(key) { expressions.append(try Self.expression(.string(text), field: path(key))) }
        return expressions
    }

    static func expression(_ json: JSONValue, field: String) throws(ModelError) -> DimensionExpression {
        let text = json.string ?? json.integer.map(String.init) ?? ""
        guard let expression = DimensionExpression(text) else { throw error(field, "'\(text)' is not a size") }
        return expression
    }

    mutating func word<T: RawRepresentable & CaseIterable>(_ key: String) throws(ModelError) -> T where T.RawValue == String {
        try Self.word(try value(key), field: path(key))
    }

    mutating func optionalWord<T: RawRepresentable & CaseIterable>(_ key: String) throws(ModelError) -> T?
    where T.RawValue == String {
        guard let value = optionalValue(key) else { return nil }
        return try Self.word(value, field: path(key))
    }

    /// One of an enumeration's words.
    static func word<T: RawRepresentable & CaseIterable>(_ json: JSONValue, field: String) throws(ModelError) -> T
    where T.RawValue == String {
        guard let text = json.string, let word = T(rawValue: text) else {
            throw error(field, "is none of \(T.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return word
    }

    static func role(_ json: JSONValue, field: String) throws(ModelError) -> TensorRole { try word(json, field: field) }

    static func roles(_ json: JSONValue, field: String) throws(ModelError) -> [TensorRole] {
        guard let array = json.array, !array.isEmpty else { throw error(field, "is not a list of roles") }
        var roles: [TensorRole] = []
        for element in array { roles.append(try role(element, field: field)) }
        return roles
    }
}
