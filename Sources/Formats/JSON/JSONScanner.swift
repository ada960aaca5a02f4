/// Bounds on a JSON document, so that a hostile one costs little.
public struct JSONLimits: Sendable {
    /// Bytes of the document.
    public var byteCount: Int
    /// Arrays and objects inside each other.
    public var depth: Int
    /// Values, with an array counted as 8 and an object as 32, which is about what they cost in memory. However large this
    /// is, a document has at most 1,000,000 and two for each of its bytes: `{},{},{}` costs 300 times its own size.
    public var valueCount: Int
    /// Accepts `NaN`, `Infinity` and `-Infinity`, which Python's `json` writes into configuration files.
    public var allowsNonFiniteNumbers: Bool

    public init(
        byteCount: Int = 64 << 20, depth: Int = 64, valueCount: Int = 8_000_000, allowsNonFiniteNumbers: Bool = false
    ) {
        self.byteCount = byteCount
        self.depth = depth
        self.valueCount = valueCount
        self.allowsNonFiniteNumbers = allowsNonFiniteNumbers
    }
}

/// Walks over a JSON text once and refuses everything that RFC 8259 does, before json-c sees it.
///
/// json-c is more generous than the formats built on JSON allow: it keeps the last of two equal keys, cuts keys at a
/// NUL, turns lone surrogates into U+FFFD, clamps large integers, and takes comments, leading zeros and control characters.
/// It also does not say where an error is. This scan does, in one pass without recursion and with a bounded stack.
struct JSONScanner: ~Escapable {
    let bytes: Span<UInt8>
    let limits: JSONLimits
    var position = 0
    /// The exact values of integers of 19 digits and more, in the order of the text; json-c clamps some of them.
    var longIntegers: [JSONValue] = []
    /// How to read the document in parts; `nil` when it is small.
    private(set) var runs: JSONRuns?
    private let runByteCount: Int
    private var frames: [Frame] = []
    private var cost = 0
    private let costLimit: Int

    /// An array or object that is still open.
    private struct Frame {
        var isObject: Bool
        var cutter: JSONCutter
        var keys: Set<ExactString> = []
        var lastKey = ""
    }

    private enum Expected: String {
        case value = "a value"
        case valueOrEnd = "a value or ']'"
        case key = "a key in double quotes"
        case keyOrEnd = "a key in double quotes or '}'"
        case commaOrEnd = "',' or the end of the array or object"
        case nothing = "nothing after the document"
    }

    @_lifetime(copy bytes)
    init(_ bytes: Span<UInt8>, limits: JSONLimits, runByteCount: Int = JSONRuns.byteCount) {
        self.bytes = bytes
        self.limits = limits
        self.runByteCount = runByteCount
        // A span's bytes are in memory, so twice their count does not overflow.
        self.costLimit = min(limits.valueCount, 1_000_000 + 2 * bytes.count)
    }

    /// Checks the whole text.
    mutating func scan() throws(FormatError) {
        guard bytes.count <= limits.byteCount else {
            throw FormatError(.invalid(field: "JSON document", found: "\(bytes.count) bytes", expected: "at most \(limits.byteCount)"))
        }
        var expected = Expected.value
        while true {
            skipWhitespace()
            guard position < bytes.count else {
                if expected == .nothing { return }
                throw invalid(found: "the end of the text", expected: expected.rawValue)
            }
            switch (expected, bytes[position]) {
            case (.valueOrEnd, UInt8(ascii: "]")), (.keyOrEnd, UInt8(ascii: "}")): expected = close()
            case (.commaOrEnd, UInt8(ascii: "]")) where frames.last?.isObject == false: expected = close()
            case (.commaOrEnd, UInt8(ascii: "}")) where frames.last?.isObject == true: expected = close()
            case (.commaOrEnd, UInt8(ascii: ",")):
                frames[frames.count - 1].cutter.comma(at: position)
                position += 1
                expected = frames.last?.isObject == true ? .key : .value
            case (.key, UInt8(ascii: "\"")), (.keyOrEnd, UInt8(ascii: "\"")):
                try scanKey()
                expected = .value
            case (.value, _), (.valueOrEnd, _): expected = try scanValue(expected: expected)
            default: throw invalid(found: foundHere(), expected: expected.rawValue)
            }
        }
    }

    private mutating func close() -> Expected {
        var closed = frames.removeLast()
        if let cut = closed.cutter.close(at: position) {
            if frames.isEmpty { runs = cut } else { frames[frames.count - 1].cutter.add(cut, key: frames[frames.count - 1].lastKey) }
        }
        position += 1
        return afterValue
    }

    private var afterValue: Expected { frames.isEmpty ? .nothing : .commaOrEnd }

    private mutating func open(isObject: Bool) throws(FormatError) {
        guard frames.count < limits.depth else {
            throw invalid(found: "an array or object at depth \(frames.count + 1)", expected: "a depth of at most \(limits.depth)")
        }
        position += 1
        let cutter = JSONCutter(isObject: isObject, start: position, byteCount: runByteCount)
        frames.append(Frame(isObject: isObject, cutter: cutter))
        try spend(isObject ? 32 : 8)
    }

    private mutating func spend(_ amount: Int) throws(FormatError) {
        cost += amount
        guard cost <= costLimit else {
            throw invalid(found: "more values", expected: "at most \(costLimit) (an array counts as 8, an object as 32)")
        }
    }

    private mutating func scanValue(expected: Expected) throws(FormatError) -> Expected {
        switch bytes[position] {
        case UInt8(ascii: "{"):
            try open(isObject: true)
            return .keyOrEnd
        case UInt8(ascii: "["):
            try open(isObject: false)
            return .valueOrEnd
        case UInt8(ascii: "\""): _ = try scanString()
        case UInt8(ascii: "t"): try scanWord("true", expected: expected)
        case UInt8(ascii: "f"): try scanWord("false", expected: expected)
        case UInt8(ascii: "n"): try scanWord("null", expected: expected)
        case UInt8(ascii: "N") where limits.allowsNonFiniteNumbers: try scanWord("NaN", expected: expected)
        case UInt8(ascii: "I") where limits.allowsNonFiniteNumbers: try scanWord("Infinity", expected: expected)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try scanNumber()
        default: throw invalid(found: foundHere(), expected: expected.rawValue)
        }
        try spend(1)
        return afterValue
    }

    private mutating func scanKey() throws(FormatError) {
        let start = position
        let hasEscapes = try scanString()
        let key = decoded(start + 1..<position - 1, hasEscapes: hasEscapes)
        let frame = frames.count - 1
        if key.utf8.contains(0) {
            throw invalid(found: "a key with a NUL character", expected: "keys without NUL", at: start)
        }
        guard frames[frame].keys.insert(ExactString(key)).inserted else {
            let path = frames.dropLast().map { $0.isObject ? $0.lastKey : "[]" }.joined(separator: ".")
            let field = path.isEmpty ? "key" : "key in \(path)"
            throw FormatError(.duplicate(field: field, name: key), byteOffset: UInt64(start))
        }
        frames[frame].lastKey = key
        skipWhitespace()
        guard position < bytes.count, bytes[position] == UInt8(ascii: ":") else {
            throw invalid(found: foundHere(), expected: "':' after a key")
        }
        position += 1
    }

    private mutating func scanWord(_ word: StaticString, expected: Expected) throws(FormatError) {
        let text = "\(word)".utf8
        guard position + text.count <= bytes.count else {
            throw invalid(found: foundHere(), expected: expected.rawValue)
        }
        var index = position
        for byte in text {
            guard bytes[index] == byte else { throw invalid(found: foundHere(), expected: expected.rawValue) }
            index += 1
        }
        position = index
    }

    mutating func skipWhitespace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    /// What stands at the current position, for messages.
    func foundHere() -> String {
        guard position < bytes.count else { return "the end of the text" }
        let byte = bytes[position]
        return byte >= 0x20 && byte < 0x7F ? "'\(Unicode.Scalar(byte))'" : "the byte 0x\(String(byte, radix: 16))"
    }

    /// An error that names the line and the byte.
    func invalid(found: String, expected: String, at offset: Int? = nil) -> FormatError {
        let offset = offset ?? position
        var line = 1
        for index in 0..<min(offset, bytes.count) where bytes[index] == 0x0A { line += 1 }
        return FormatError(
            .invalid(field: "JSON line \(line)", found: found, expected: expected), byteOffset: UInt64(offset))
    }
}
