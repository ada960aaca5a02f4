/// One option of a pass, declared once: parsing, checking, help and documentation derive from it.
public struct OptionDeclaration: Sendable {
    public let name: String
    public let type: OptionType
    public let fallback: OptionDefault
    /// One sentence for help and documentation.
    public let summary: String

    /// - Parameters:
    ///   - name: as written in recipes, words joined by `-`.
    ///   - default: `.required` when the recipe must say it, `.absent` when there may be none.
    public init(_ name: String, _ type: OptionType, default fallback: OptionDefault, summary: String) {
        self.name = name
        self.type = type
        self.fallback = fallback
        self.summary = summary
    }
}

/// What an option may hold.
public enum OptionType: Sendable {
    case boolean
    case integer(ClosedRange<Int>)
    case number(ClosedRange<Double>)
    case text
    /// A path, taken as it is written: relative to the current folder.
    case path
    case choice([String])
    /// The name of an encoding, e.g. `bf16` or `q4_k`.
    case encoding
    /// Which tensors are meant: a selector, or a list of which any may match.
    case selector
    /// Ordered rules of a selector and a type, of which the last that matches decides.
    ///
    /// `mixtures` are the names that `{mixture: NAME}` may give; `extra` are further keys a rule may have; a registry puts in the
    /// types it has.
    case rules(mixtures: [String], extra: [OptionDeclaration], types: TypeTable = .builtIn)
    /// The name of a way of rounding, or `{use: NAME, with: {…}}`. A registry puts in what it has.
    case rounding(Table<any RoundingMethod> = Table(of: "rounding"))
    /// A list whose elements are all of one type.
    indirect case list(of: OptionType)

    /// Every number that is finite.
    static let allNumbers = -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude

    /// The type in the words of help and documentation.
    public var description: String {
        switch self {
        case .boolean: "boolean"
        case .integer(let range): "integer \(words(range))"
        case .number(let range) where range == OptionType.allNumbers: "number"
        case .number(let range): "number from \(range.lowerBound) to \(range.upperBound)"
        case .text: "text"
        case .path: "path"
        case .choice(let choices): either(choices)
        case .encoding: "type"
        case .selector: "selector"
        case .rules: "rules"
        case .rounding(let roundings): either(roundings.declarations.map(\.identifier))
        case .list(let element): "list of \(element.description)"
        }
    }
}

/// What holds when a recipe does not name an option.
public enum OptionDefault: Sendable, Equatable {
    case required
    case absent
    case boolean(Bool)
    case integer(Int)
    case number(Double)
    case text(String)
    /// Names, for lists and selectors.
    case list([String])

    /// The default as a recipe would write it.
    public var description: String {
        switch self {
        case .required: "required"
        case .absent: "none"
        case .boolean(let flag): "\(flag)"
        case .integer(let integer): "\(integer)"
        case .number(let number): "\(number)"
        case .text(let text): text
        case .list(let words): "[\(words.joined(separator: ", "))]"
        }
    }

    /// The default as a node, so that it takes the same road as what a recipe says.
    func node(at location: RecipeLocation) -> RecipeNode? {
        switch self {
        case .required, .absent: nil
        case .boolean(let flag): RecipeNode(.boolean(flag), at: location)
        case .integer(let integer): RecipeNode(.integer(integer), at: location)
        case .number(let number): RecipeNode(.number(number), at: location)
        case .text(let text): RecipeNode(.text(text), at: location)
        case .list(let words): RecipeNode(.sequence(words.map { RecipeNode(.text($0), at: location) }), at: location)
        }
    }
}
