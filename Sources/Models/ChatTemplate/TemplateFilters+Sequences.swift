import Formats

/// Jinja's filters over lists, strings and dictionaries.
extension TemplateEvaluator {
    func filterSequence(_ name: String, _ value: TemplateValue, _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        switch name {
        case "length", "count":
            _ = try bind(arguments, of: name)
            if case .sequence(let sequence) = value, sequence.kind == .iterator { throw error("an iterator has no length; make it a 'list'") }
            if case .dictionary(let dictionary) = value { return .integer(dictionary.keys.count) }
            if case .string(let text) = value {
                try spend(bytes: text.utf8.count)
                return .integer(text.unicodeScalars.count)
            }
            return .integer(try elements(of: value).count)
        case "items":
            _ = try bind(arguments, of: name)
            if value.isUndefined { return try sequence(.iterator, []) }
            guard case .dictionary(let dictionary) = value else { throw error("'items' takes a dictionary, not \(value.kind)") }
            return try sequence(.iterator, dictionary.items)
        case "dictsort": return try dictsort(value, arguments)
        case "reverse":
            _ = try bind(arguments, of: name)
            guard case .string(let text) = value else { return try sequence(.iterator, try elements(of: value).reversed()) }
            var view = String.UnicodeScalarView()
            view.append(contentsOf: text.unicodeScalars.reversed())
            return .string(String(view))
        // Nothing, in whatever form, has no elements for these.
        case "map", "select", "reject", "selectattr", "rejectattr":
            return try filterEach(name, value.isTrue ? try elements(of: value) : [], arguments)
        case "first", "last", "list": _ = try bind(arguments, of: name)
        default: break
        }
        let elements = try elements(of: value)
        try spend(elements.count)
        switch name {
        case "first": return elements.first ?? .undefined("there is no first item")
        case "last": return elements.last ?? .undefined("there is no last item")
        case "list": return try sequence(.list, elements)
        case "join":
            let values = try bind(arguments, "d", "attribute", of: name)
            let parts = try attributes(values[1], of: elements)
            return .string(try join(parts, with: try values[0].map(text(of:)) ?? "", strict: false))
        case "sum":
            let values = try bind(arguments, "attribute", "start", of: name)
            var sum = values[1] ?? .integer(0)
            for part in try attributes(values[0], of: elements) { sum = try compute(.add, sum, part) }
            return sum
        case "sort", "unique", "min", "max": return try order(name, elements, arguments)
        default: throw error("there is no filter '\(printable(name))' here")
        }
    }

    /// The attribute of each element, by a path such as `function.name`; `nil` is the element itself.
    private func attributes(
        _ path: TemplateValue?, of elements: [TemplateValue], absent: TemplateValue? = nil
    ) throws(TemplateError) -> [TemplateValue] {
        guard let path else { return elements }
        if case .null = path { return elements }
        let steps: [TemplateValue] =
            if case .string(let text) = path { text.exactParts(".").map { part in Int(part).map(TemplateValue.integer) ?? .string(part) } } else { [path] }
        var values: [TemplateValue] = []
        for element in elements {
            var value = element
            for step in steps { value = try item(step, of: value) }
            if value.isUndefined, let absent { value = absent }
            values.append(value)
        }
        try spend(elements.count * steps.count)
        return values
    }

    private func filterEach(
        _ name: String, _ elements: [TemplateValue], _ arguments: TemplateCallArguments
    ) throws(TemplateError) -> TemplateValue {
        try spend(elements.count)
        if name == "map", arguments.positional.isEmpty {
            let values = try bind(arguments, "attribute", "default", of: name)
            return try sequence(.iterator, try attributes(values[0] ?? .null, of: elements, absent: values[1]))
        }
        var rest = arguments
        let takesAttribute = name.hasSuffix("attr")
        guard !(takesAttribute || name == "map") || !rest.positional.isEmpty else { throw error("'\(name)' needs a name") }
        let attribute = takesAttribute ? rest.positional.removeFirst() : nil
        let inner = rest.positional.isEmpty ? nil : try string(rest.positional.removeFirst(), of: name)
        let subjects = try attributes(attribute, of: elements)
        var kept: [TemplateValue] = []
        for (element, subject) in zip(elements, subjects) {
            if name == "map" {
                kept.append(try filter(inner ?? "", subject, rest))
            } else {
                let holds = if let inner { try test(inner, subject, rest) } else { subject.isTrue }
                if holds == name.hasPrefix("select") { kept.append(element) }
            }
        }
        return try sequence(.iterator, kept)
    }

    /// A value as it is compared when case does not count.
    private func folded(_ value: TemplateValue, _ countsCase: Bool) -> TemplateValue {
        if !countsCase, case .string(let text) = value { .string(text.lowercased()) } else { value }
    }

    private func order(_ name: String, _ elements: [TemplateValue], _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        let values = name == "sort" ? try bind(arguments, "reverse", "case_sensitive", "attribute", of: name)
            : [nil] + (try bind(arguments, "case_sensitive", "attribute", of: name))
        let countsCase = values[1]?.isTrue ?? false
        let keys = try attributes(values[2], of: elements).map { folded($0, countsCase) }
        switch name {
        case "sort": return try sequence(.list, try sorted(elements, by: keys, isReversed: values[0]?.isTrue ?? false))
        case "unique":
            var seen: Set<TemplateDictionary.Key> = []
            var kept: [TemplateValue] = []
            for (element, key) in zip(elements, keys) {
                guard let key = TemplateDictionary.Key(key) else { throw error("'unique' cannot tell \(key.kind) from another") }
                if seen.insert(key).inserted { kept.append(element) }
            }
            return try sequence(.iterator, kept)
        default:
            guard !elements.isEmpty else { return .undefined("there is no item") }
            var best = 0
            for index in elements.indices.dropFirst() {
                if try name == "min" ? precedes(keys[index], keys[best]) : precedes(keys[best], keys[index]) { best = index }
            }
            return elements[best]
        }
    }

    /// Elements in the order of their keys; equal ones stay as they stood, also backwards.
    private func sorted(_ elements: [TemplateValue], by keys: [TemplateValue], isReversed: Bool) throws(TemplateError) -> [TemplateValue] {
        try spend(elements.count * (elements.count.bitWidth - elements.count.leadingZeroBitCount))
        var failure: TemplateError?
        let order = elements.indices.sorted { a, b in
            guard failure == nil else { return a < b }
            do throws(TemplateError) {
                if try isReversed ? precedes(keys[b], keys[a]) : precedes(keys[a], keys[b]) { return true }
                if try isReversed ? precedes(keys[a], keys[b]) : precedes(keys[b], keys[a]) { return false }
            } catch { failure = error }
            return a < b
        }
        if let failure { throw failure }
        return order.map { elements[$0] }
    }

    private func dictsort(_ value: TemplateValue, _ arguments: TemplateCallArguments) throws(TemplateError) -> TemplateValue {
        let values = try bind(arguments, "case_sensitive", "by", "reverse", of: "dictsort")
        guard case .dictionary(let dictionary) = value else { throw error("'dictsort' takes a dictionary, not \(value.kind)") }
        let countsCase = values[0]?.isTrue ?? false
        let by = try string(values[1], of: "dictsort") ?? "key"
        guard by == "key" || by == "value" else { throw error("'dictsort' goes by key or value") }
        let keys = (by == "key" ? dictionary.keys : dictionary.values).map { folded($0, countsCase) }
        return try sequence(.list, try sorted(dictionary.items, by: keys, isReversed: values[2]?.isTrue ?? false))
    }
}
