import Formats
import Testing

/// Plain dtypes against numpy and ml_dtypes; see scripts/fixtures/make_plain_fixtures.py.
@Suite struct PlainCodecTests {
    static let fixtures = CodecFixtures.read("plain-fixtures.json")

    /// Every pattern of the small dtypes, many of the large ones.
    @Test(arguments: fixtures.object?.keys.filter { DType(rawValue: $0) != nil } ?? [])
    func decodes(_ name: String) throws {
        let dtype = try #require(DType(rawValue: name))
        let count = dtype.bitWidth <= 16 && dtype.isFloatingPoint || dtype.bitWidth <= 8 ? 1 << dtype.bitWidth : 4096
        let bytes: [UInt8]
        if count == 1 << dtype.bitWidth {
            bytes = packed((0..<count).map { UInt64($0) }, bitWidth: dtype.bitWidth)
        } else {
            bytes = packed((0..<count).map { CodecInputs.output(40, $0) }, bitWidth: dtype.bitWidth)
        }
        let decoded = try Codec.decoded(bytes, as: .plain(dtype), count: count)
        #expect(CodecFixtures.hash(decoded) == Self.fixtures[name]?.string)
    }

    /// Random bits, in whatever number of elements, with every instruction set.
    @Test(arguments: [DType.f16, .bf16], KernelLevel.allCases)
    func encodes(_ dtype: DType, _ level: KernelLevel) throws {
        let numbers = (0..<65536).map { Float(bitPattern: UInt32(truncatingIfNeeded: CodecInputs.output(41, $0) >> 32)) }
        var bytes = encoded(numbers, dtype, level)
        for i in numbers.indices where numbers[i].isNaN {
            let bits = UInt16(bytes[2 * i]) | UInt16(bytes[2 * i + 1]) << 8
            let value = dtype == .f16 ? Float(halfBits: bits) : Float(brainBits: bits)
            // A NaN that is not quiet would change when it is read.
            #expect(value.isNaN && !value.isSignalingNaN && value.sign == numbers[i].sign)
            (bytes[2 * i], bytes[2 * i + 1]) = dtype == .f16 ? (0x00, 0x7e) : (0xc0, 0x7f)
        }
        #expect(CodecFixtures.hash(bytes) == Self.fixtures["encode \(dtype.rawValue)"]?.string)

        for count in 0..<40 {
            let part = Array(numbers[100..<100 + count])
            let expected = part.flatMap { number -> [UInt8] in
                let bits = dtype == .f16 ? number.halfBits : number.brainBits
                return [UInt8(truncatingIfNeeded: bits), UInt8(bits >> 8)]
            }
            #expect(encoded(part, dtype, level) == expected, "\(count) elements")
        }
    }

    /// All patterns, with every instruction set; there and back.
    @Test(arguments: [DType.f16, .bf16], KernelLevel.allCases)
    func everyPatternReturns(_ dtype: DType, _ level: KernelLevel) {
        let bytes = packed((0..<65536).map { UInt64($0) }, bitWidth: 16)
        var numbers = [Float](repeating: 0, count: 65536)
        var span = numbers.mutableSpan
        PlainCodec.decode(dtype, unsafe bytes.span.bytes, into: &span, level: level)
        var wrong: [Int] = []
        for i in numbers.indices {
            let bits = UInt16(i)
            let expected = dtype == .f16 ? Float(halfBits: bits) : Float(brainBits: bits)
            if numbers[i].bitPattern != expected.bitPattern { wrong.append(i) }
        }
        #expect(wrong.isEmpty)

        let again = encoded(numbers, dtype, level)
        for i in numbers.indices where !numbers[i].isNaN {
            let pair = 2 * i..<2 * i + 2
            if again[pair] != bytes[pair] { wrong.append(i) }
        }
        #expect(wrong.isEmpty)
    }

    /// The definition of F16 rounding against the processor's or the compiler's.
    @Test func halvesAreIEEE() {
        var wrong: [Float] = []
        for i in 0..<500_000 {
            let number = Float(bitPattern: UInt32(truncatingIfNeeded: CodecInputs.output(42, i)))
            if !number.isNaN && number.halfBits != Float16(number).bitPattern { wrong.append(number) }
        }
        #expect(wrong.isEmpty)
    }

    @Test func booleans() throws {
        #expect(try Codec.decoded([0, 1, 2, 255], as: .plain(.bool), count: 4) == [0, 1, 1, 1])
    }

    @Test func wideEncodings() throws {
        #expect(try Codec.encoded([1.5, -0.0], as: .plain(.f32), columnCount: 2) == [0, 0, 0xc0, 0x3f, 0, 0, 0, 0x80])
        #expect(try Codec.encoded([1.5], as: .plain(.f64), columnCount: 1) == [0, 0, 0, 0, 0, 0, 0xf8, 0x3f])
    }

    @Test(arguments: [Encoding.plain(.c64), .block(.q8_1), .block(.q8_K)])
    func whatIsNotDecodedIsNamed(_ encoding: Encoding) throws {
        #expect(!Codec.canDecode(encoding) && !Codec.canEncode(encoding))
        let bytes = [UInt8](repeating: 0, count: 292)
        #expect(throws: FormatError(.unsupported(what: "decoding \(encoding.name)"))) {
            try Codec.decoded(bytes, as: encoding, count: 256)
        }
    }

    @Test(arguments: [GGMLType.iq2_xxs, .iq2_xs, .iq1_s])
    func theseNeedAnImportanceMatrix(_ type: GGMLType) throws {
        #expect(!Codec.canEncode(.block(type)) && Codec.canEncode(.block(type), hasImportance: true))
        #expect(throws: FormatError(.unsupported(what: "encoding \(type.name) without an importance matrix"))) {
            try Codec.encoded([Float](repeating: 1, count: 256), as: .block(type), columnCount: 256)
        }
    }

    @Test(arguments: [Encoding.plain(.i32), .plain(.f8e4m3)])
    func whatIsNotEncodedIsNamed(_ encoding: Encoding) throws {
        #expect(Codec.canDecode(encoding) && !Codec.canEncode(encoding))
        #expect(throws: FormatError(.unsupported(what: "encoding \(encoding.name)"))) {
            try Codec.encoded([Float](repeating: 1, count: 256), as: encoding, columnCount: 256)
        }
    }

    /// Numbers of some bits each, from the lowest bit up.
    private func packed(_ values: [UInt64], bitWidth: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: values.count * bitWidth / 8)
        for (i, value) in values.enumerated() {
            for bit in 0..<bitWidth where value >> UInt64(bit) & 1 == 1 {
                bytes[(i * bitWidth + bit) / 8] |= 1 << UInt8((i * bitWidth + bit) % 8)
            }
        }
        return bytes
    }

    private func encoded(_ numbers: [Float], _ dtype: DType, _ level: KernelLevel) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xaa, count: numbers.count * 2)
        var span = bytes.mutableSpan
        // Bytes have no invalid values.
        var raw = unsafe span.mutableBytes
        PlainCodec.encode(dtype, numbers.span, into: &raw, level: level)
        return bytes
    }
}
