/// How a JSON text is laid out.
package enum JSONStyle: Sendable {
    /// No blanks, as in safetensors headers.
    case compact
    /// Python's default: a blank after every comma and colon.
    case spaced
    /// Two spaces per level, as Hugging Face writes its files.
    case pretty
}

extension JSONValue {
    /// The document as text: keys in their order, floats in the shortest form that reads back the same.
    ///
    /// Layout as Python's `json.dumps` has it, with `indent=2` when `pretty`. Characters past ASCII are written as they are;
    /// numbers that are not finite as `NaN`, `Infinity`, `-Infinity`.
    public func text(pretty: Bool = false) -> String {
        String(decoding: bytes(pretty: pretty), as: UTF8.self)
    }

    /// The same, as UTF-8.
    public func bytes(pretty: Bool = false) -> [UInt8] { bytes(style: pretty ? .pretty : .spaced) }

    package func bytes(style: JSONStyle) -> [UInt8] {
        var writer = JSONWriter(style: style)
        writer.write(self, depth: 0)
        return writer.bytes
    }
}

private struct JSONWriter {
    let style: JSONStyle
    var bytes: [UInt8] = []

    init(style: JSONStyle) { self.style = style }

    mutating func write(_ value: JSONValue, depth: Int) {
        switch value {
        case .null: append("null")
        case .bool(let flag): append(flag ? "true" : "false")
        case .integer(let integer): append(integer.description)
        case .unsigned(let integer): append(integer.description)
        case .number(let number): write(number)
        case .string(let text): write(text)
        case .array(let elements):
            writeMembers(elements.count, open: "[", close: "]", depth: depth) { writer, index in
                writer.write(elements[index], depth: depth + 1)
            }
        case .object(let object):
            writeMembers(object.count, open: "{", close: "}", depth: depth) { writer, index in
                let key = object.keys[index]
                writer.write(key)
                writer.append(writer.style == .compact ? ":" : ": ")
                writer.write(object[key] ?? .null, depth: depth + 1)
            }
        }
    }

    private mutating func writeMembers(
        _ count: Int, open: String, close: String, depth: Int, write: (inout JSONWriter, Int) -> Void
    ) {
        append(open)
        for index in 0..<count {
            if index > 0 { append(style == .spaced ? ", " : ",") }
            breakLine(depth: depth + 1)
            write(&self, index)
        }
        if count > 0 { breakLine(depth: depth) }
        append(close)
    }

    private mutating func breakLine(depth: Int) {
        guard style == .pretty else { return }
        bytes.append(0x0A)
        for _ in 0..<2 * depth { bytes.append(0x20) }
    }

    private mutating func write(_ number: Double) {
        if number.isNaN {
            append("NaN")
        } else if number.isInfinite {
            append(number < 0 ? "-Infinity" : "Infinity")
        } else {
            append(number.description)
        }
    }

    private mutating func write(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""): append("\\\"")
            case UInt8(ascii: "\\"): append("\\\\")
            case 0x08: append("\\b")
            case 0x09: append("\\t")
            case 0x0A: append("\\n")
            case 0x0C: append("\\f")
            case 0x0D: append("\\r")
            case 0..<0x20: append("\\u00\(byte < 16 ? "0" : "")\(String(byte, radix: 16))")
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }
}
