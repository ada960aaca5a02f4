import Formats

/// Typed access to one object of `config.json`. A key that is null counts as absent; a value of the wrong type or out
/// of range is an error that names the key with its path.
struct ConfigReader {
    private let object: JSONObject
    private let prefix: String

    init(_ object: JSONObject, prefix: String = "") {
        self.object = object
        self.prefix = prefix
    }

    func path(_ key: String) -> String { prefix + key }

    func isPresent(_ key: String) -> Bool { value(key) != nil }

    /// The value, unless it is missing or null.
    func value(_ key: String) -> JSONValue? {
        guard let value = object[key], !value.isNull else { return nil }
        return value
    }

    private func invalid(_ key: String, _ value: JSONValue, expected: String) -> ModelError {
        ModelError(.invalidKey(key: path(key), found: describe(value), expected: expected))
    }

    func integer(_ key: String, in range: ClosedRange<Int>) throws(ModelError) -> Int? {
        guard let value = value(key) else { return nil }
        guard let integer = value.integer, range.contains(integer) else {
            throw invalid(key, value, expected: "an integer from \(range.lowerBound) to \(range.upperBound)")
        }
        return integer
    }

    /// A finite number above zero that a `Float` holds.
    func positive(_ key: String) throws(ModelError) -> Double? {
        guard let value = value(key) else { return nil }
        guard let number = value.double, Self.isUsable(number) else {
            throw invalid(key, value, expected: "a positive number")
        }
        return number
    }

    func needed(_ key: String) throws(ModelError) -> Double {
        guard let number = try positive(key) else { throw ModelError(.missingKey(key: path(key))) }
        return number
    }

    func string(_ key: String) throws(ModelError) -> String? {
        guard let value = value(key) else { return nil }
        guard let string = value.string else { throw invalid(key, value, expected: "a string") }
        return string
    }

    func bool(_ key: String) throws(ModelError) -> Bool? {
        guard let value = value(key) else { return nil }
        guard let bool = value.bool else { throw invalid(key, value, expected: "true or false") }
        return bool
    }

    func object(_ key: String) throws(ModelError) -> ConfigReader? {
        guard let value = value(key) else { return nil }
        guard let object = value.object else { throw invalid(key, value, expected: "an object") }
        return ConfigReader(object, prefix: path(key) + ".")
    }

    func numbers(_ key: String) throws(ModelError) -> [Double] {
        guard let value = value(key) else { throw ModelError(.missingKey(key: path(key))) }
        guard let array = value.array else { throw invalid(key, value, expected: "a list of numbers") }
        var numbers: [Double] = []
        for element in array {
            guard let number = element.double, Self.isUsable(number) else {
                throw invalid(key, element, expected: "a list of positive numbers")
            }
            numbers.append(number)
        }
        return numbers
    }

    static func isUsable(_ number: Double) -> Bool {
        number > 0 && Float(number) > 0 && Float(number).isFinite
    }
}
