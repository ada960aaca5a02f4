/// A model's published name taken apart into the fields that GGUF has for it: `SmolLM2-135M-Instruct` is basename
/// `SmolLM2`, size `135M`, finetune `Instruct`.
public struct ModelName: Sendable, Equatable {
    /// For people: hyphens become spaces, lower-case words get a capital.
    public var title: String?
    public var organization: String?
    public var basename: String?
    public var finetune: String?
    public var version: String?
    public var sizeLabel: String?

    private enum Kind { case basename, sizeLabel, finetune, version, type }

    /// Takes a name apart.
    /// - Parameters:
    ///   - identifier: a directory's name, or `organization/name`.
    ///   - parameterCount: what the model really has, to tell a size (`7B`) from a context length (`128k`).
    public init(_ identifier: String, parameterCount: Int) {
        guard !identifier.contains(" ") else {
            title = Self.title(identifier)
            return
        }
        var name = Substring(identifier)
        if let slash = identifier.firstIndex(of: "/") {
            let owner = identifier[..<slash]
            if !owner.hasPrefix(".") { organization = Self.title(String(owner)) }
            name = identifier[identifier.index(after: slash)...]
        }
        title = Self.title(String(name))
        var parts = name.split(separator: "-").map(String.init)
        var kinds = [Set<Kind>](repeating: [], count: parts.count)
        for index in parts.indices {
            (parts[index], kinds[index]) = Self.classify(parts[index], isFirst: index == 0, parameterCount: parameterCount)
        }
        // A word ("small") is no size when there is a number ("135M").
        let sizes = zip(parts, kinds).filter { $0.1.contains(.sizeLabel) }
        if sizes.contains(where: { $0.0.contains(where: \.isNumber) }) {
            for index in parts.indices where parts[index].allSatisfy(\.isLetter) { kinds[index].remove(.sizeLabel) }
        }
        var isAtStart = true
        for index in parts.indices {
            let startsWithLetter = parts[index].first?.isLetter ?? false
            if isAtStart, kinds[index].contains(.version) || (kinds[index].isEmpty && startsWithLetter) {
                kinds[index].insert(.basename)
            } else {
                isAtStart = false
                if kinds[index].isEmpty { kinds[index].insert(.finetune) }
            }
        }
        // A version at the end of the basename is only a version.
        for index in parts.indices.reversed() {
            guard kinds[index].contains(.basename), kinds[index].count > 1 else { break }
            kinds[index].remove(.basename)
        }
        func joined(_ kind: Kind, unless other: Kind? = nil) -> String? {
            let chosen = parts.indices.filter { kinds[$0].contains(kind) && !(other.map(kinds[$0].contains) ?? false) }
            var words: [String] = []
            for index in chosen where kind != .sizeLabel || !words.contains(parts[index]) { words.append(parts[index]) }
            return words.isEmpty ? nil : words.joined(separator: "-")
        }
        sizeLabel = joined(.sizeLabel)
        finetune = joined(.finetune)
        version = joined(.version, unless: .basename)
        // With nothing else found, the basename would only be a guess.
        if sizeLabel != nil || finetune != nil || version != nil { basename = joined(.basename) }
    }

    /// One part of a name, in its usual spelling, and what it is (nothing, when it could be anything).
    private static func classify(_ part: String, isFirst: Bool, parameterCount: Int) -> (String, Set<Kind>) {
        if part.wholeMatch(of: #/(v|iter)?\d+([.]\d+)*/#.ignoresCase()) != nil { return (part, [.version]) }
        if part.wholeMatch(of: #/i?q\d(_\w)*|b?fp?(16|32)/#.ignoresCase()) != nil { return (part.uppercased(), [.type]) }
        guard !isFirst else { return (part, []) }
        let size = #/(([A]|\d+[x])?\d+([._]\d+)?[KMBT][\d]?|small|mini|medium|large|x?xl)/#.ignoresCase()
        if part.wholeMatch(of: size) != nil {
            var text = Array(part.replacing("_", with: "."))
            // "7b1" means 7.1b.
            if text.count > 2, let last = text.last, last.isNumber {
                text = text.dropLast(2) + [".", last, text[text.count - 2]]
            }
            if text.count > 1, text[text.count - 2].isNumber, let last = text.last, "kmbt".contains(last) {
                text[text.count - 1] = Character(last.uppercased())
            }
            if parameterCount > 0, let last = text.last, let exponent = Array(" KMBT").firstIndex(of: last),
                let number = Double(String(text.dropLast()))
            {
                let stated = (0..<exponent).reduce(number) { value, _ in value * 1000 }
                if abs(stated - Double(parameterCount)) > 7 * Double(parameterCount) / 8 {
                    return (String(text.dropLast()) + last.lowercased(), [.finetune])
                }
            }
            return (String(text), [.sizeLabel])
        }
        if part.wholeMatch(of: #/chat|instruct|vision|lora/#.ignoresCase()) != nil { return (part, [.finetune]) }
        return (part, [])
    }

    private static func title(_ text: String) -> String {
        let words = text.split { $0 == "-" || $0.isWhitespace }
        return words.map { word -> String in
            let isLower = word.contains(where: \.isLowercase) && !word.contains(where: \.isUppercase)
            guard isLower, word.wholeMatch(of: #/v\d+(\.\d+)*|\d.*/#) == nil else { return String(word) }
            var (titled, isAfterLetter) = ("", false)
            for character in word {
                titled += isAfterLetter ? String(character) : character.uppercased()
                isAfterLetter = character.isLetter
            }
            return titled
        }.joined(separator: " ")
    }

    /// A parameter count as models are labelled: two digits at least, and a letter for the power of a thousand (`135M`,
    /// `1.2B`); a mixture of experts is the number of experts and the size with one of them (`8x7B`).
    static func sizeLabel(parameterCount: Int, expertCount: Int) -> String {
        let (scale, letter) =
            parameterCount > 1_000_000_000_000 ? (1e-12, "T") : parameterCount > 1_000_000_000 ? (1e-9, "B")
            : parameterCount > 1_000_000 ? (1e-6, "M") : (1e-3, "K")
        let scaled = Double(parameterCount) * scale
        let whole = Int(scaled.rounded(.toNearestOrEven))
        let decimals = whole == 0 ? 2 : max(2 - "\(whole)".count, 0)
        let power = (0..<decimals).reduce(1) { value, _ in value * 10 }
        let rounded = Int((scaled * Double(power)).rounded(.toNearestOrEven))
        var label = "\(rounded / power)"
        if decimals > 0 {
            let fraction = "\(rounded % power)"
            label += "." + String(repeating: "0", count: decimals - fraction.count) + fraction
        }
        return (expertCount > 0 ? "\(expertCount)x" : "") + label + letter
    }
}
