import Formats
import Testing

@Suite struct CodecValidityTests {
    /// The same rows are refused as by the reference.
    @Test(arguments: CodecFixtures.types("encode")) func encodedRowsAreValidOrNot(_ name: String) throws {
        let encoding = try #require(Encoding(name: name))
        for (family, verdict) in CodecFixtures.verdicts("encode", name) {
            let bytes = try Codec.encoded(family: family, as: encoding)
            #expect((Codec.firstInvalidBlock(encoding, bytes) != nil) == verdict.isInvalid, "\(family)")
        }
    }

    @Test(arguments: CodecFixtures.types("decode")) func randomRowsAreValidOrNot(_ name: String) throws {
        let encoding = try #require(Encoding(name: name))
        let info = try TensorInfo(name: "", encoding: encoding, shape: [CodecInputs.count])
        let verdict = try #require(CodecFixtures.verdicts("decode", name).first { $0.family == "bytes-raw" }).verdict
        let bytes = CodecInputs.bytes(31, byteCount: info.byteCount)
        #expect((Codec.firstInvalidBlock(encoding, bytes) != nil) == verdict.isInvalid)
    }

    /// The first of several, wherever it stands.
    @Test(arguments: [0, 1, 1023, 1024, 5000, 8191]) func theFirstIsFound(_ index: Int) throws {
        var elements = [Float](repeating: -3, count: 8192)
        #expect(Codec.firstNonFinite(elements.span) == nil)
        elements[8191] = .nan
        elements[index] = -.infinity
        #expect(Codec.firstNonFinite(elements.span) == index)
        for dtype in [DType.f32, .f16, .bf16, .f64] {
            let bytes = try Codec.encoded(elements, as: .plain(dtype), columnCount: 8192)
            #expect(Codec.firstInvalidBlock(.plain(dtype), bytes) == index)
        }
    }

    /// Elements are looked at eight bytes at a time; these do not fill the last eight.
    @Test(arguments: [1, 2, 3, 4097, 4099]) func theLastOfAnOddCountIsFound(_ count: Int) throws {
        var elements = [Float](repeating: 65504, count: count)
        for dtype in [DType.f32, .f16, .bf16] {
            let sound = try Codec.encoded(elements, as: .plain(dtype), columnCount: count)
            #expect(Codec.firstInvalidBlock(.plain(dtype), sound) == nil)
        }
        elements[count - 1] = .nan
        for dtype in [DType.f32, .f16, .bf16] {
            let bytes = try Codec.encoded(elements, as: .plain(dtype), columnCount: count)
            #expect(Codec.firstInvalidBlock(.plain(dtype), bytes) == count - 1)
        }
    }

    @Test func largeDoublesAreValid() {
        let bytes: [UInt8] = [0, 0, 0, 0, 0, 0, 0xe0, 0x7f]  // 2^1023
        #expect(Codec.firstInvalidBlock(.plain(.f64), bytes) == nil)
    }

    @Test func smallFloatsHaveNaN() {
        let bytes: [UInt8] = [0, 0x7e, 0x7f, 0x80]
        #expect(Codec.firstInvalidBlock(.plain(.f8e4m3), bytes) == 2)
        #expect(Codec.firstInvalidBlock(.plain(.f8e5m2), bytes) == 1)
        #expect(Codec.firstInvalidBlock(.plain(.f8e8m0), [0, 254, 255, 255]) == 2)
        #expect(Codec.firstInvalidBlock(.plain(.f8e4m3fnuz), bytes) == 3)
        #expect(Codec.firstInvalidBlock(.plain(.u8), bytes) == nil)
    }

    /// The second scale of the second block.
    @Test func minimumsAreLookedAt() {
        var bytes = [UInt8](repeating: 0, count: 40)
        bytes[23] = 0x7c
        #expect(Codec.firstInvalidBlock(.block(.q4_1), bytes) == 1)
    }
}
