import Crypto
import Formats
import Testing

/// What the reference implementation made of the inputs, as hashes; see scripts/fixtures/make_codec_fixtures.py.
enum CodecFixtures {
    struct Verdict {
        var encoded: String
        var decoded: String
        /// The reference's own check of the encoded rows refuses them.
        var isInvalid: Bool
    }

    static let all = read("codec-fixtures.json")

    static func read(_ name: String) -> JSONValue {
        do {
            return try JSONValue(parsing: TensorBytes(MappedFile(path: fixturePath(name))))
        } catch {
            fatalError("\(error)")
        }
    }

    /// The types with verdicts of a kind, `encode` or `decode`, as the reference names them.
    static func types(_ kind: String) -> [String] { all[kind]?.object?.keys ?? [] }

    /// The verdicts of a type, by family; those with an importance matrix are called `FAMILY+KIND`.
    static func verdicts(_ kind: String, _ type: String) -> [(family: String, verdict: Verdict)] {
        let families = all[kind]?[type]?.object ?? [:]
        return families.keys.map { family in
            let texts = families[family]?.array?.compactMap(\.string) ?? []
            precondition(texts.count == 3, "\(type) \(family): a verdict is three texts")
            return (family, Verdict(encoded: texts[0], decoded: texts[1], isInvalid: texts[2].contains("i")))
        }
    }

    static func hash(_ bytes: [UInt8]) -> String {
        SHA256.hash(data: bytes).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// The hash of little-endian numbers, every NaN made the same.
    static func hash(_ numbers: [Float]) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(numbers.count * 4)
        for number in numbers {
            let bits = number.isNaN ? 0x7fc0_0000 : number.bitPattern
            for shift: UInt32 in [0, 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: bits >> shift)) }
        }
        return hash(bytes)
    }
}

extension Codec {
    /// Encodes the inputs of a family of the fixtures, which may name a kind of importance after a plus sign.
    static func encoded(family: String, as encoding: Encoding) throws -> [UInt8] {
        let parts = family.split(separator: "+").map(String.init)
        let elements = try #require(CodecInputs.elements(parts[0]))
        let importance = try parts.dropFirst().first.map { try #require(CodecInputs.importance($0)) }
        return try encoded(elements, as: encoding, columnCount: CodecInputs.columnCount, importance: importance)
    }

    /// Encodes rows into an array.
    static func encoded(
        _ elements: [Float], as encoding: Encoding, columnCount: Int, importance: [Float]? = nil
    ) throws -> [UInt8] {
        let info = try TensorInfo(name: "", encoding: encoding, shape: [elements.count / columnCount, columnCount])
        // Not zeros: encoders must write every byte.
        var bytes = [UInt8](repeating: 0xaa, count: info.byteCount)
        var span = bytes.mutableSpan
        // Bytes have no invalid values.
        var raw = unsafe span.mutableBytes
        try encode(elements.span, as: encoding, columnCount: columnCount, importance: importance?.span, into: &raw)
        return bytes
    }

    static func firstInvalidBlock(_ encoding: Encoding, _ bytes: [UInt8]) -> Int? {
        // Bytes have no padding.
        firstInvalidBlock(encoding, unsafe bytes.span.bytes)
    }

    /// Decodes bytes into an array.
    static func decoded(_ bytes: [UInt8], as encoding: Encoding, count: Int) throws -> [Float] {
        var elements = [Float](repeating: 1234, count: count)
        var span = elements.mutableSpan
        // Bytes have no padding.
        try decode(encoding, unsafe bytes.span.bytes, into: &span)
        return elements
    }
}
