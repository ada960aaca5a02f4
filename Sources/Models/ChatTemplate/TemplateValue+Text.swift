import Formats

extension TemplateValue {
    /// As Python's `str` writes it, which is what comes out of a template.
    var text: String {
        if case .string(let text) = self { return text }
        if case .undefined = self { return "" }
        return representation
    }

    /// As Python's `repr` writes it.
    private var representation: String {
        switch self {
        case .undefined: return "Undefined"
        case .null: return "None"
        case .bool(let flag): return flag ? "True" : "False"
        case .integer(let integer): return "\(integer)"
        case .number(let number): return number.description
        case .string(let text): return Self.quoted(text)
        case .sequence(let sequence):
            let parts = sequence.elements.map(\.representation).joined(separator: ", ")
            return sequence.kind == .tuple ? "(\(parts)\(sequence.elements.count == 1 ? "," : ""))" : "[\(parts)]"
        case .dictionary(let dictionary):
            return "{" + zip(dictionary.keys, dictionary.values).map { "\($0.representation): \($1.representation)" }.joined(separator: ", ") + "}"
        case .namespace: return "<Namespace>"
        case .function: return "<function>"
        case .loop(let loop): return "<LoopContext \(loop.index + 1)/\(loop.elements.count)>"
        }
    }

    /// In quotes, with what cannot be printed as an escape.
    static func quoted(_ text: String) -> String {
        let quote: Unicode.Scalar = text.utf8.contains(UInt8(ascii: "'")) && !text.utf8.contains(UInt8(ascii: "\"")) ? "\"" : "'"
        var out = String.UnicodeScalarView([quote])
        for scalar in text.unicodeScalars {
            switch scalar {
            case quote, "\\":
                out.append("\\")
                out.append(scalar)
            case "\n": out.append(contentsOf: "\\n".unicodeScalars)
            case "\r": out.append(contentsOf: "\\r".unicodeScalars)
            case "\t": out.append(contentsOf: "\\t".unicodeScalars)
            case " ": out.append(scalar)
            default:
                switch scalar.properties.generalCategory {
                case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator, .spaceSeparator:
                    let (letter, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
                    out.append(contentsOf: ("\\" + letter + hexadecimal(scalar.value, width: width)).unicodeScalars)
                default: out.append(scalar)
                }
            }
        }
        out.append(quote)
        return String(out)
    }

    /// About how many bytes its text has; what it costs to write it out or to compare it. A value that stands in several places
    /// counts in each.
    var weight: Int {
        switch self {
        case .string(let text): text.utf8.count
        case .sequence(let sequence): sequence.weight
        case .dictionary(let dictionary): dictionary.weight
        default: 8
        }
    }
}

func hexadecimal(_ value: UInt32, width: Int) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
}

/// JSON as Python's `json.dumps` writes it.
struct TemplateJSONWriter {
    var escapesNonASCII = false
    /// What a level is indented by; `nil` writes one line.
    var indent: String?
    var itemSeparator = ", "
    var keySeparator = ": "
    var sortsKeys = false
    private(set) var text = ""

    /// - Returns: what cannot be written, if anything.
    mutating func write(_ value: TemplateValue, depth: Int = 0) -> String? {
        switch value {
        case .null: text += "null"
        case .bool(let flag): text += flag ? "true" : "false"
        case .integer(let integer): text += "\(integer)"
        case .number(let number): text += number.isFinite ? number.description : number.isNaN ? "NaN" : number < 0 ? "-Infinity" : "Infinity"
        case .string(let string): write(string)
        case .sequence(let sequence) where sequence.kind == .list || sequence.kind == .tuple:
            text += "["
            for (index, element) in sequence.elements.enumerated() {
                separate(isFirst: index == 0, depth: depth + 1)
                if let obstacle = write(element, depth: depth + 1) { return obstacle }
            }
            close("]", isEmpty: sequence.elements.isEmpty, depth: depth)
        case .dictionary(let dictionary): return write(dictionary, depth: depth)
        default: return value.kind
        }
        return nil
    }

    private mutating func write(_ dictionary: TemplateDictionary, depth: Int) -> String? {
        var members: [(key: String, value: TemplateValue)] = []
        for (key, value) in zip(dictionary.keys, dictionary.values) {
            switch key {
            case .string(let text): members.append((text, value))
            case .null: members.append(("null", value))
            case .bool(let flag): members.append((flag ? "true" : "false", value))
            case .integer, .number: members.append((key.text, value))
            default: return "a key that is \(key.kind)"
            }
        }
        if sortsKeys { members.sort { ExactString.precedes($0.key, $1.key) } }
        text += "{"
        for (index, member) in members.enumerated() {
            separate(isFirst: index == 0, depth: depth + 1)
            write(member.key)
            text += keySeparator
            if let obstacle = write(member.value, depth: depth + 1) { return obstacle }
        }
        close("}", isEmpty: members.isEmpty, depth: depth)
        return nil
    }

    private mutating func separate(isFirst: Bool, depth: Int) {
        if !isFirst { text += itemSeparator }
        breakLine(depth)
    }

    private mutating func close(_ bracket: String, isEmpty: Bool, depth: Int) {
        if !isEmpty { breakLine(depth) }
        text += bracket
    }

    private mutating func breakLine(_ depth: Int) {
        guard let indent else { return }
        text += "\n"
        for _ in 0..<depth { text += indent }
    }

    private mutating func write(_ string: String) {
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{8}": text += "\\b"
            case "\u{C}": text += "\\f"
            default:
                if scalar.value < 0x20 || (escapesNonASCII && scalar.value > 0x7E) {
                    for unit in UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter {
                        text += "\\u" + hexadecimal(UInt32(unit), width: 4)
                    }
                } else {
                    text.unicodeScalars.append(scalar)
                }
            }
        }
        text += "\""
    }
}
