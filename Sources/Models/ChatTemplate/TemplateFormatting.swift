import Formats

/// How Python puts values into a text.
extension TemplateEvaluator {
    private func charged(_ value: TemplateValue) throws(TemplateError) -> String {
        let text = try text(of: value)
        try spend(bytes: text.utf8.count)
        return text
    }

    /// `"{} of {name}".format(values)`, without format specifications.
    func format(_ format: String, _ arguments: TemplateCallArguments) throws(TemplateError) -> String {
        var out = ""
        var next = 0
        var scalars = format.unicodeScalars.makeIterator()
        while let scalar = scalars.next() {
            guard scalar == "{" || scalar == "}" else {
                out.unicodeScalars.append(scalar)
                continue
            }
            var field = ""
            var isField = false, isFirst = true
            while let inner = scalars.next() {
                if isFirst, inner == scalar {
                    out.unicodeScalars.append(scalar)
                    isField = true
                    field = "{"
                    break
                }
                isFirst = false
                if scalar == "{", inner == "}" {
                    isField = true
                    break
                }
                field.unicodeScalars.append(inner)
            }
            guard isField else { throw error("a bracket of a format stands alone") }
            if field == "{" { continue }
            let value: TemplateValue?
            if field.isEmpty {
                value = next < arguments.positional.count ? arguments.positional[next] : nil
                next += 1
            } else if let place = Int(field) {
                value = arguments.positional.indices.contains(place) ? arguments.positional[place] : nil
            } else {
                value = arguments.named.first { $0.name == field }?.value
            }
            guard let value else { throw error("'{\(printable(field))}' of a format has no value") }
            out += try charged(value)
        }
        return out
    }
}
