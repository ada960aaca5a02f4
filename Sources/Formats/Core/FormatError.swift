/// What is wrong with a file, or with what was asked of one, and where.
///
/// The facts are in `reason`; `description` makes the sentence: `PATH: tensor 'NAME': what, found, expected`.
public struct FormatError: Error, Sendable, Equatable {
    public enum Reason: Sendable, Equatable {
        /// A field does not hold what the format allows. `field` in the format's own words.
        case invalid(field: String, found: String, expected: String)
        /// The file ends before a field or a tensor does.
        case truncated(field: String, needed: UInt64, available: UInt64)
        /// A name that must be unique stands twice.
        case duplicate(field: String, name: String)
        /// Something that must be there is not.
        case missing(field: String, name: String)
        case invalidShape(shape: [Int], encoding: String, why: String)
        /// Well formed, but nothing here can read or write it.
        case unsupported(what: String)
        /// Stored checks (checksums, promised sizes) do not match what is there.
        case corrupt(what: String, expected: String, found: String)
        /// A system call failed.
        case system(call: String, errno: Int32)
        /// Not enough room on the disk for what is about to be written.
        case diskFull(needed: UInt64, available: UInt64)
    }

    public var reason: Reason
    public var path: String?
    public var tensor: String?
    public var byteOffset: UInt64?

    public init(_ reason: Reason, path: String? = nil, tensor: String? = nil, byteOffset: UInt64? = nil) {
        self.reason = reason
        self.path = path
        self.tensor = tensor
        self.byteOffset = byteOffset
    }

    /// The same error, with the file named if it was not yet.
    public func at(path: String) -> FormatError {
        var copy = self
        copy.path = copy.path ?? path
        return copy
    }
}

extension FormatError: CustomStringConvertible {
    public var description: String {
        var parts: [String] = []
        if let path { parts.append(printable(path)) }
        if let tensor { parts.append("tensor '\(printable(tensor))'") }
        var sentence = reason.sentence
        if let byteOffset { sentence += " (at byte \(byteOffset))" }
        parts.append(sentence)
        return parts.joined(separator: ": ")
    }
}

extension FormatError.Reason {
    fileprivate var sentence: String {
        switch self {
        case .invalid(let field, let found, let expected):
            "\(printable(field)) is \(printable(found)), expected \(printable(expected))"
        case .truncated(let field, let needed, let available):
            "the file ends inside \(printable(field)): needs \(needed) bytes, \(available) are left"
        case .duplicate(let field, let name): "\(printable(field)) '\(printable(name))' stands twice"
        case .missing(let field, let name): "\(printable(field)) '\(printable(name))' is missing"
        case .invalidShape(let shape, let encoding, let why): "\(encoding) of shape \(shape): \(why)"
        case .unsupported(let what): "\(printable(what)) is not supported"
        case .corrupt(let what, let expected, let found):
            "\(printable(what)) does not match: expected \(printable(expected)), found \(printable(found))"
        case .system(let call, let errno): "\(call): \(systemMessage(errno))"
        case .diskFull(let needed, let available): "not enough disk space: \(needed) bytes needed, \(available) free"
        }
    }
}

/// Text from a file made safe to print: control characters are escaped and long text is cut.
package func printable(_ text: String, limit: Int = 200) -> String {
    var out = ""
    for (count, scalar) in text.unicodeScalars.enumerated() {
        if count >= limit { return out + "…" }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned, .surrogate:
            out += scalar.escaped(asASCII: true)
        default: out.unicodeScalars.append(scalar)
        }
    }
    return out
}
