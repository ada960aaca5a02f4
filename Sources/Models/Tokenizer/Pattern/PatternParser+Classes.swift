/// Sets of characters: classes in brackets, properties, escapes.
extension PatternReader {
    /// `[...]`, after the opening bracket. Nested classes are united, `&&` intersects what stands on its sides.
    mutating func characterClass() throws(PatternError) -> ScalarSet {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.depthLimit else { throw error("groups nest deeper than \(Self.depthLimit)") }
        let isNegative = take("^")
        var result: ScalarSet?
        var ranges: [ClosedRange<UInt32>] = []
        var isFirst = true
        while true {
            guard let scalar = next() else { throw error("a class without ']'") }
            if scalar == "]", !isFirst { break }
            isFirst = false
            if scalar == "[" {
                if let set = posixClass() { ranges += set.ranges } else { ranges += try characterClass().ranges }
            } else if scalar == "&", take("&") {
                let side = ScalarSet(ranges)
                result = result.map { $0.intersection(side) } ?? side
                ranges = []
            } else {
                switch scalar == "\\" ? try classEscape() : .scalar(scalar.value) {
                case .set(let set): ranges += set.ranges
                case .scalar(let low):
                    guard peek() == "-", peek(1) != "]", peek(1) != nil else {
                        ranges.append(low...low)
                        continue
                    }
                    _ = next()
                    var end = ClassItem.scalar(0)
                    if let scalar = next() { end = scalar == "\\" ? try classEscape() : .scalar(scalar.value) }
                    switch end {
                    case .scalar(let high):
                        guard low <= high else { throw error("a range that runs backwards") }
                        ranges.append(low...high)
                    case .set(let set):
                        ranges += [low...low, 0x2D...0x2D] + set.ranges
                    }
                }
            }
        }
        var set = ScalarSet(ranges)
        if let result { set = result.intersection(set) }
        // Case is folded before the class is negated: `(?i)[^a]` is neither "a" nor "A".
        if ignoresCase { set = set.foldingCase }
        return isNegative ? set.inverted : set
    }

    enum ClassItem {
        case scalar(UInt32), set(ScalarSet)
    }

    private mutating func classEscape() throws(PatternError) -> ClassItem {
        guard let scalar = next() else { throw error("a pattern that ends in '\\'") }
        if scalar == "b" { return .scalar(8) }
        if let set = try setEscape(scalar) { return .set(set) }
        return .scalar(try literalEscape(scalar))
    }

    /// `[:alpha:]` inside a class, after its bracket.
    private mutating func posixClass() -> ScalarSet? {
        guard peek() == ":" else { return nil }
        let names = [
            "alpha": ["l", "m"], "digit": ["nd"], "space": ["space"], "upper": ["lu"], "lower": ["ll"], "punct": ["p", "s"],
            "alnum": ["l", "m", "nd"], "cntrl": ["cc"], "word": ["word"], "blank": ["zs"],
        ]
        for (name, properties) in names {
            for isNegative in [false, true] where take(":\(isNegative ? "^" : "")\(name):]") {
                let set = properties.reduce(ScalarSet.none) { $0.union(Self.property($1) ?? .none) }
                return isNegative ? set.inverted : set
            }
        }
        return nil
    }

    /// Escapes that stand for a set of characters.
    mutating func setEscape(_ scalar: Unicode.Scalar) throws(PatternError) -> ScalarSet? {
        switch scalar {
        case "s": return .whitespace
        case "S": return ScalarSet.whitespace.inverted
        case "d": return Self.property("nd")
        case "D": return Self.property("nd")?.inverted
        case "w": return UnicodeTables.wordSet
        case "W": return UnicodeTables.wordSet.inverted
        case "h": return ScalarSet([0x30...0x39, 0x41...0x46, 0x61...0x66])
        case "H": return ScalarSet([0x30...0x39, 0x41...0x46, 0x61...0x66]).inverted
        case "p", "P":
            var name = ""
            if take("{") {
                while let letter = next(), letter != "}" { name.unicodeScalars.append(letter) }
            } else if let letter = next() {
                name.unicodeScalars.append(letter)
            }
            var isNegative = scalar == "P"
            if name.first == "^" {
                isNegative.toggle()
                name.removeFirst()
            }
            let word = String(name.lowercased().filter { !" _-".contains($0) })
            guard let set = Self.property(word) else { throw error("the property '\(name)', which is not known here") }
            return isNegative ? set.inverted : set
        default: return nil
        }
    }

    /// Code points of a general category, a script or a common property, by its name in lower case.
    static func property(_ name: String) -> ScalarSet? {
        let long = [
            "letter": "l", "mark": "m", "number": "n", "punctuation": "p", "punct": "p", "symbol": "s", "separator": "z", "other": "c",
            "uppercaseletter": "lu", "lowercaseletter": "ll", "titlecaseletter": "lt", "modifierletter": "lm", "otherletter": "lo",
            "nonspacingmark": "mn", "spacingmark": "mc", "enclosingmark": "me", "decimalnumber": "nd", "digit": "nd",
            "letternumber": "nl", "othernumber": "no", "spaceseparator": "zs", "control": "cc", "cntrl": "cc", "format": "cf",
            "unassigned": "cn", "currencysymbol": "sc", "mathsymbol": "sm",
        ]
        switch name {
        case "any": return .all
        case "space", "whitespace": return .whitespace
        case "word": return UnicodeTables.wordSet
        case "ascii": return ScalarSet([0...0x7F])
        default: break
        }
        let short = long[name] ?? name
        var ranges: [ClosedRange<UInt32>] = []
        for (index, category) in UnicodeTables.categoryNames.enumerated() {
            let category = category.lowercased()
            if category == short || (short.utf8.count == 1 && category.hasPrefix(short)) {
                ranges += UnicodeTables.categorySets[index].ranges
            }
        }
        return ranges.isEmpty ? UnicodeTables.scriptSets[name] : ScalarSet(ranges)
    }
}
