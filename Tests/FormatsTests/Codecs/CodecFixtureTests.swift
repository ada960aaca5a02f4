import Formats
import Testing

/// Every encoding against the reference implementation: the same bytes and the same numbers, for many kinds of input.
@Suite struct CodecFixtureTests {
    /// The generator here makes what the generator of the fixtures made.
    @Test func inputsAreTheSame() throws {
        let inputs = try #require(CodecFixtures.all["inputs"]?.object)
        #expect(inputs.count == 32)
        for family in inputs.keys {
            let elements = try #require(CodecInputs.elements(family), "family \(family)")
            // NaN keep their bits here: none of them was computed.
            let bytes = try Codec.encoded(elements, as: .plain(.f32), columnCount: CodecInputs.columnCount)
            #expect(CodecFixtures.hash(bytes) == inputs[family]?.string, "family \(family)")
        }
        let importance = try #require(CodecFixtures.all["importance"]?.object)
        #expect(importance.count == 6)
        for kind in importance.keys {
            let weights = try #require(CodecInputs.importance(kind), "importance \(kind)")
            let bytes = try Codec.encoded(weights, as: .plain(.f32), columnCount: CodecInputs.columnCount)
            #expect(CodecFixtures.hash(bytes) == importance[kind]?.string, "importance \(kind)")
        }
    }

    @Test(arguments: CodecFixtures.types("encode")) func encodes(_ name: String) throws {
        let encoding = try #require(Encoding(name: name))
        #expect(Codec.canEncode(encoding, hasImportance: true))
        for (family, verdict) in CodecFixtures.verdicts("encode", name) {
            let encoded = try Codec.encoded(family: family, as: encoding)
            #expect(CodecFixtures.hash(encoded) == verdict.encoded, "\(family), encoded")
            let decoded = try Codec.decoded(encoded, as: encoding, count: CodecInputs.count)
            #expect(CodecFixtures.hash(decoded) == verdict.decoded, "\(family), decoded")
        }
    }

    /// Random bytes: as they come, and with the scales made finite.
    @Test(arguments: CodecFixtures.types("decode")) func decodes(_ name: String) throws {
        let encoding = try #require(Encoding(name: name))
        #expect(Codec.canDecode(encoding))
        let info = try TensorInfo(name: "", encoding: encoding, shape: [CodecInputs.count])
        for (family, verdict) in CodecFixtures.verdicts("decode", name) {
            var bytes = CodecInputs.bytes(family == "bytes-raw" ? 31 : 32, byteCount: info.byteCount)
            if family == "bytes-finite" { try makeScalesFinite(&bytes, name) }
            #expect(CodecFixtures.hash(bytes) == verdict.encoded, "\(family), the input")
            let decoded = try Codec.decoded(bytes, as: encoding, count: CodecInputs.count)
            #expect(CodecFixtures.hash(decoded) == verdict.decoded, "\(family)")
        }
    }

    /// Clears the bit that would make a block's scales infinite or NaN.
    private func makeScalesFinite(_ bytes: inout [UInt8], _ name: String) throws {
        let type = try #require(GGMLType(name: name))
        for start in stride(from: 0, to: bytes.count, by: type.typeSize) {
            switch type {
            case .mxfp4: bytes[start] &= 0x7f
            case .nvfp4:
                for scale in start..<start + 4 {
                    bytes[scale] &= 0x7f
                    if bytes[scale] == 0x7f { bytes[scale] = 0x7e }
                }
            default: for offset in Self.halves[name] ?? [] { bytes[start + offset + 1] &= 0xbf }
            }
        }
    }

    /// Where the F16 fields of a block are; of IQ1_M the word with the top bits of its scale.
    private static let halves: [String: [Int]] = [
        "F16": [0], "BF16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
        "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
        "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0], "IQ1_S": [0], "IQ1_M": [54],
        "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64], "Q1_0": [0], "Q2_0": [0],
    ]
}
