import Formats

/// The methods that values have in Python, as far as they change nothing.
enum TemplateMethods {
    static let ofStrings: Set = [
        "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "startswith", "endswith", "upper", "lower", "title", "capitalize",
        "replace", "find", "rfind", "index", "count", "join", "format", "isdigit", "removeprefix", "removesuffix",
    ]
    /// The last three exist to be refused, as Jinja's sandbox does.
    static let ofDictionaries: Set = ["get", "items", "keys", "values", "copy", "pop", "update", "setdefault"]
    static let ofSequences: Set = ["index", "count", "copy", "append", "extend", "insert", "pop", "remove", "sort", "reverse"]
}

extension TemplateEvaluator {
    func method(_ name: String, of value: TemplateValue, _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        switch value {
        case .string(let text): return try method(name, of: text, arguments)
        case .dictionary(let dictionary): return try method(name, of: dictionary, arguments)
        case .sequence(let sequence): return try method(name, of: sequence, arguments)
        case .loop(let loop):
            guard !arguments.positional.isEmpty else { throw error("'cycle' needs values") }
            return arguments.positional[loop.index % arguments.positional.count]
        default: throw error("\(value.kind) has no method '\(printable(name))'")
        }
    }

    private func method(
        _ name: String, of dictionary: TemplateDictionary, _ arguments: TemplateCallArguments
    ) throws(TemplateError) -> TemplateValue {
        if name == "get" {
            let values = try bind(arguments, "key", "default", of: name)
            guard let key = values[0] else { throw error("'get' needs a key") }
            return dictionary[key] ?? values[1] ?? .null
        }
        guard arguments.positional.isEmpty, arguments.named.isEmpty || name == "update" else {
            throw error("'\(name)' of a dictionary has no use for arguments here")
        }
        switch name {
        case "items": return try sequence(.view, dictionary.items)
        case "keys": return try sequence(.view, dictionary.keys)
        case "values": return try sequence(.view, dictionary.values)
        case "copy": return .dictionary(dictionary)
        default: throw error("'\(name)' would change a dictionary, which templates may not")
        }
    }

    private func method(_ name: String, of sequence: TemplateSequence, _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        switch name {
        case "copy": return .sequence(sequence)
        case "index", "count":
            guard let wanted = try bind(arguments, "value", of: name)[0] else { throw error("'\(name)' needs a value") }
            var places: [Int] = []
            for (place, element) in sequence.elements.enumerated() where try holds(.equal, element, wanted) { places.append(place) }
            if name == "count" { return .integer(places.count) }
            guard let first = places.first else { throw error("'index' finds no such element") }
            return .integer(first)
        default: throw error("'\(name)' would change a list, which templates may not")
        }
    }

    private func method(_ name: String, of text: String, _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        try spend(bytes: 4 * text.utf8.count)
        switch name {
        case "strip", "lstrip", "rstrip":
            let characters = try string(try bind(arguments, "chars", of: name)[0], of: name)
            return .string(text.stripped(characters, left: name != "rstrip", right: name != "lstrip"))
        case "split", "rsplit": return try split(name, text, arguments)
        case "splitlines":
            try spend(text.utf8.count)
            return try sequence(.list, text.pythonLines.map { .string($0) })
        case "startswith", "endswith":
            guard let affix = try bind(arguments, "affix", of: name)[0] else { throw error("'\(name)' needs a string") }
            let affixes = if case .sequence(let sequence) = affix, sequence.kind == .tuple { sequence.elements } else { [affix] }
            for affix in affixes {
                guard let affix = try string(affix, of: name) else { throw error("'\(name)' takes a string, not none") }
                if name == "startswith" ? text.utf8.starts(with: affix.utf8) : text.hasExactSuffix(affix) { return .bool(true) }
            }
            return .bool(false)
        case "upper": return .string(text.uppercased())
        case "lower": return .string(text.lowercased())
        case "title": return .string(text.pythonTitle)
        case "capitalize": return .string(text.pythonCapitalized)
        case "replace":
            let values = try bind(arguments, "old", "new", "count", of: name)
            guard let old = try string(values[0], of: name), let new = try string(values[1], of: name) else {
                throw error("'replace' takes two strings")
            }
            return .string(try replace(text, old, new, count: try integer(values[2], of: name)))
        case "find", "rfind", "index", "count": return try search(name, text, arguments)
        case "join":
            guard let list = try bind(arguments, "iterable", of: name)[0] else { throw error("'join' needs a list") }
            return .string(try join(try elements(of: list), with: text, strict: true))
        case "format": return .string(try format(text, arguments))
        case "removeprefix", "removesuffix":
            guard let affix = try string(try bind(arguments, "affix", of: name)[0], of: name) else { throw error("'\(name)' needs a string") }
            if name == "removeprefix", text.utf8.starts(with: affix.utf8) { return .string(text.part(affix.utf8.count..<text.utf8.count)) }
            if name == "removesuffix", text.hasExactSuffix(affix) { return .string(text.part(0..<text.utf8.count - affix.utf8.count)) }
            return .string(text)
        default:
            _ = try bind(arguments, of: name)
            return .bool(text.isPythonDigits)
        }
    }

    private func split(_ name: String, _ text: String, _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        let values = try bind(arguments, "sep", "maxsplit", of: name)
        let separator = try string(values[0], of: name)
        if let separator, separator.isEmpty { throw error("'\(name)' has an empty separator") }
        let given = try integer(values[1], of: name) ?? -1
        let limit = given < 0 ? Int.max : given
        let parts = 
            if let separator {
                try self.parts(of: text, separator, limit: limit, fromEnd: name == "rsplit")
            } else {
                try words(of: text, limit: limit, fromEnd: name == "rsplit")
            }
        return try sequence(.list, parts.map { .string($0) })
    }

    /// Parts of a text, whose number is charged for before they are made.
    private func parts(of text: String, _ separator: String, limit: Int, fromEnd: Bool = false) throws(TemplateError) -> [String] {
        try spend(4 * min(text.placeCount(of: separator), limit))
        return text.exactParts(separator, limit: limit, fromEnd: fromEnd)
    }

    private func words(of text: String, limit: Int, fromEnd: Bool) throws(TemplateError) -> [String] {
        try spend(text.utf8.count)
        return text.wordParts(limit: limit, fromEnd: fromEnd)
    }

    private func search(_ name: String, _ text: String, _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        guard let part = try string(try bind(arguments, "sub", of: name)[0], of: name) else { throw error("'\(name)' needs a string") }
        if name == "count" { return .integer(part.isEmpty ? text.unicodeScalars.count + 1 : text.placeCount(of: part)) }
        guard text.firstPlace(of: part) != nil else {
            if name == "index" { throw error("'index' finds no such text") }
            return .integer(-1)
        }
        if part.isEmpty { return .integer(name == "rfind" ? text.unicodeScalars.count : 0) }
        let parts = text.exactParts(part, limit: 1, fromEnd: name == "rfind")
        return .integer(parts[0].unicodeScalars.count)
    }

    func replace(_ text: String, _ old: String, _ new: String, count: Int?) throws(TemplateError) -> String {
        try spend(bytes: text.utf8.count)
        let limit = count.map { $0 < 0 ? Int.max : $0 } ?? Int.max
        guard !old.isEmpty else {
            // Before every code point, and at the end.
            let size = (text.utf8.count + 1).multipliedReportingOverflow(by: new.utf8.count + 1)
            try spend(bytes: size.overflow ? Int.max : size.partialValue)
            var out = ""
            for (index, scalar) in text.unicodeScalars.enumerated() {
                if index < limit { out += new }
                out.unicodeScalars.append(scalar)
            }
            return text.unicodeScalars.count < limit ? out + new : out
        }
        let parts = try self.parts(of: text, old, limit: limit)
        let size = parts.count.multipliedReportingOverflow(by: new.utf8.count)
        try spend(bytes: size.overflow ? Int.max : size.partialValue)
        return parts.joined(separator: new)
    }

    /// - Parameter strict: whether elements must be strings, as for Python's method; Jinja's filter takes any.
    func join(_ elements: [TemplateValue], with separator: String, strict: Bool) throws(TemplateError) -> String {
        var out = ""
        for (index, element) in elements.enumerated() {
            if strict, element.asString == nil { throw error("'join' takes strings, not \(element.kind)") }
            let part = try text(of: element)
            try spend(bytes: part.utf8.count + separator.utf8.count)
            if index > 0 { out += separator }
            out += part
        }
        return out
    }
}
