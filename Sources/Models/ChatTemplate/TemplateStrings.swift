/// What Python's string methods do, on code points and byte for byte.
extension String {
    /// - Parameter characters: what goes; `nil` is white space.
    func stripped(_ characters: String?, left: Bool, right: Bool) -> String {
        let set = characters.map { Set($0.unicodeScalars) }
        func goes(_ scalar: Unicode.Scalar) -> Bool { set?.contains(scalar) ?? scalar.isTemplateSpace }
        var rest = unicodeScalars[...]
        if left { while let first = rest.first, goes(first) { rest.removeFirst() } }
        if right { while let last = rest.last, goes(last) { rest.removeLast() } }
        return String(rest)
    }

    func hasExactSuffix(_ suffix: String) -> Bool {
        utf8.count >= suffix.utf8.count && utf8.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
    }

    /// The parts between occurrences of a separator that is not empty.
    func exactParts(_ separator: String, limit: Int = .max, fromEnd: Bool = false) -> [String] {
        var places: [Int] = []
        var start = 0
        while fromEnd || places.count < limit, let place = firstPlace(of: separator, from: start) {
            places.append(place)
            start = place + separator.utf8.count
        }
        if fromEnd { places = Array(places.suffix(limit)) }
        var parts: [String] = []
        var rest = self[...]
        var offset = 0
        for place in places {
            let end = rest.utf8.index(rest.startIndex, offsetBy: place - offset)
            parts.append(String(rest[..<end]))
            rest = rest[rest.utf8.index(end, offsetBy: separator.utf8.count)...]
            offset = place + separator.utf8.count
        }
        parts.append(String(rest))
        return parts
    }

    /// How often a text that is not empty stands in this one, without overlap.
    func placeCount(of part: String) -> Int {
        var count = 0
        var start = 0
        while let place = firstPlace(of: part, from: start) {
            count += 1
            start = place + part.utf8.count
        }
        return count
    }

    /// The words between white space.
    func wordParts(limit: Int, fromEnd: Bool) -> [String] {
        var words: [String] = []
        var rest = Array(unicodeScalars)[...]
        if fromEnd { rest = Array(rest.reversed())[...] }
        while true {
            rest = rest.drop { $0.isTemplateSpace }
            guard !rest.isEmpty else { break }
            // What is left over keeps its blanks on the side away from the cuts.
            let word = words.count < limit ? rest.prefix { !$0.isTemplateSpace } : rest
            rest = rest.dropFirst(word.count)
            var view = UnicodeScalarView()
            view.append(contentsOf: fromEnd ? Array(word.reversed()) : Array(word))
            words.append(String(view))
        }
        return fromEnd ? words.reversed() : words
    }

    /// Lines as `str.splitlines` has them.
    var pythonLines: [String] {
        var lines: [String] = []
        var line = UnicodeScalarView()
        var isAfterReturn = false, isOpen = false
        for scalar in unicodeScalars {
            defer { isAfterReturn = scalar == "\r" }
            if scalar == "\n", isAfterReturn { continue }
            switch scalar.value {
            case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029:
                lines.append(String(line))
                line = UnicodeScalarView()
                isOpen = false
            default:
                line.append(scalar)
                isOpen = true
            }
        }
        if isOpen { lines.append(String(line)) }
        return lines
    }

    /// `str.title`: a capital after everything that has no case.
    var pythonTitle: String {
        var out = ""
        var isInWord = false
        for scalar in unicodeScalars {
            out += isInWord ? scalar.properties.lowercaseMapping : scalar.properties.titlecaseMapping
            isInWord = scalar.properties.isCased
        }
        return out
    }

    /// `str.capitalize`.
    var pythonCapitalized: String {
        guard let first = unicodeScalars.first else { return self }
        return first.properties.titlecaseMapping + String(unicodeScalars.dropFirst()).lowercased()
    }

    /// `str.isdigit`.
    var isPythonDigits: Bool {
        !isEmpty && unicodeScalars.allSatisfy { $0.properties.numericType == .decimal || $0.properties.numericType == .digit }
    }
}
