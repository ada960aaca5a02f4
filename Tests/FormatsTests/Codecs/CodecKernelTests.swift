import Formats
import Testing

/// The C loops of the types with one scale against the definitions, bit for bit, with every instruction set.
@Suite struct CodecKernelTests {
    static let types: [GGMLType] = [.q4_0, .q4_1, .q5_0, .q5_1, .q8_0]
    private static let families = CodecFixtures.all["inputs"]?.object?.keys.filter { $0 != "raw-bits" } ?? []

    /// Whole groups of sixteen blocks, and numbers of blocks that leave lanes empty.
    @Test(arguments: types, KernelLevel.allCases) func encodersAgree(_ type: GGMLType, _ level: KernelLevel) throws {
        let codec = try #require(blockEncoder(type))
        for family in Self.families {
            let elements = try #require(CodecInputs.elements(family))
            for blocks in [0, 1, 15, 17, 512] {
                let source = Array(elements.suffix(blocks * type.blockSize))
                var expected = [UInt8](repeating: 0, count: blocks * type.typeSize)
                var actual = [UInt8](repeating: 0xaa, count: blocks * type.typeSize)
                var expectedSpan = expected.mutableSpan
                var actualSpan = actual.mutableSpan
                // Bytes have no invalid values.
                var expectedBytes = unsafe expectedSpan.mutableBytes
                var actualBytes = unsafe actualSpan.mutableBytes
                codec.encodeScalar(source.span, into: &expectedBytes)
                codec.encodeKernel(source.span, into: &actualBytes, level: level)
                #expect(expected == actual, "\(family), \(blocks) blocks")
            }
        }
    }

    /// Zeros of both signs, equal magnitudes of both signs: the first in order counts.
    @Test(arguments: types, KernelLevel.allCases) func orderMatters(_ type: GGMLType, _ level: KernelLevel) throws {
        let codec = try #require(blockEncoder(type))
        let choices: [Float] = [0, -0.0, 1, -1, 0.5, -0.5]
        for smallest in [0, 2] {
            for kinds in 2...choices.count - smallest {
                let source = (0..<64 * 32).map { choices[smallest + Int(CodecInputs.output(50, $0) % UInt64(kinds))] }
                var expected = [UInt8](repeating: 0, count: 64 * type.typeSize)
                var actual = expected
                var expectedSpan = expected.mutableSpan
                var actualSpan = actual.mutableSpan
                // Bytes have no invalid values.
                var expectedBytes = unsafe expectedSpan.mutableBytes
                var actualBytes = unsafe actualSpan.mutableBytes
                codec.encodeScalar(source.span, into: &expectedBytes)
                codec.encodeKernel(source.span, into: &actualBytes, level: level)
                #expect(expected == actual, "from \(smallest), \(kinds) kinds")
            }
        }
    }

    /// Ties go away from zero, and the numbers next to them to their own side.
    @Test(arguments: KernelLevel.allCases) func roundsHalfAwayFromZero(_ level: KernelLevel) {
        for tie in stride(from: Float(0.5), to: 127, by: 1) {
            // The first element makes the scale 1.
            let source = [127, tie, tie.nextDown, tie.nextUp, -tie, -tie.nextDown, -tie.nextUp] + [Float](repeating: 0, count: 25)
            let (below, above) = (Int8(tie - 0.5), Int8(tie + 0.5))
            let codes = [127, above, below, above, -above, -below, -above] + [Int8](repeating: 0, count: 25)
            let expected = [0, 0x3c] + codes.map { UInt8(bitPattern: $0) }
            for usesKernel in [true, false] {
                var block = [UInt8](repeating: 0xaa, count: 34)
                var span = block.mutableSpan
                // Bytes have no invalid values.
                var bytes = unsafe span.mutableBytes
                if usesKernel {
                    Q8_0.encodeKernel(source.span, into: &bytes, level: level)
                } else {
                    Q8_0.encodeScalar(source.span, into: &bytes)
                }
                #expect(block == expected, "\(tie)")
            }
        }
    }

    @Test(arguments: types, KernelLevel.allCases) func decodersAgree(_ type: GGMLType, _ level: KernelLevel) throws {
        let codec = try #require(blockCodec(type))
        for blocks in [0, 1, 777] {
            let source = CodecInputs.bytes(51, byteCount: blocks * type.typeSize)
            var expected = [Float](repeating: 0, count: blocks * type.blockSize)
            var actual = [Float](repeating: 1, count: blocks * type.blockSize)
            var expectedSpan = expected.mutableSpan
            var actualSpan = actual.mutableSpan
            codec.decodeScalar(unsafe source.span.bytes, into: &expectedSpan)
            codec.decodeKernel(unsafe source.span.bytes, into: &actualSpan, level: level)
            #expect(CodecFixtures.hash(expected) == CodecFixtures.hash(actual))
        }
    }

    /// With importance matrices: whole groups of sixteen blocks, blocks that leave lanes empty, rows that end within a group.
    @Test(arguments: GGMLType.allCases.filter { weightedBlockEncoder($0)?.hasWeightedKernel == true }, KernelLevel.allCases)
    func weightedEncodersAgree(_ type: GGMLType, _ level: KernelLevel) throws {
        let codec = try #require(weightedBlockEncoder(type))
        for family in Self.families {
            let elements = try #require(CodecInputs.elements(family))
            for (kind, columnCount, rowCount) in [("weights", 256, 19), ("powers", 768, 5), ("some-zeros", 1024, 1), ("zeros", 512, 0)] {
                let importance = Array(try #require(CodecInputs.importance(kind)).prefix(columnCount))
                let source = Array(elements.suffix(rowCount * columnCount))
                var expected = [UInt8](repeating: 0, count: source.count / type.blockSize * type.typeSize)
                var actual = [UInt8](repeating: 0xaa, count: expected.count)
                var expectedSpan = expected.mutableSpan
                var actualSpan = actual.mutableSpan
                // Bytes have no invalid values.
                var expectedBytes = unsafe expectedSpan.mutableBytes
                var actualBytes = unsafe actualSpan.mutableBytes
                codec.encodeScalar(source.span, importance: importance.span, into: &expectedBytes)
                codec.encodeKernel(
                    source.span, columnCount: columnCount, importance: importance.span, into: &actualBytes, level: level)
                #expect(expected == actual, "\(family), \(kind)")
            }
        }
    }

    /// The types with a codebook, without importance.
    @Test(arguments: [GGMLType.iq2_s, .iq3_xxs, .iq3_s, .iq1_m], KernelLevel.allCases)
    func codebookEncodersAgree(_ type: GGMLType, _ level: KernelLevel) throws {
        let (codec, weighted) = (try #require(blockEncoder(type)), try #require(weightedBlockEncoder(type)))
        for family in Self.families {
            let source = Array(try #require(CodecInputs.elements(family)).suffix(19 * 256))
            var expected = [UInt8](repeating: 0, count: 19 * type.typeSize)
            var actual = [UInt8](repeating: 0xaa, count: expected.count)
            var expectedSpan = expected.mutableSpan
            var actualSpan = actual.mutableSpan
            // Bytes have no invalid values.
            var expectedBytes = unsafe expectedSpan.mutableBytes
            var actualBytes = unsafe actualSpan.mutableBytes
            codec.encodeScalar(source.span, into: &expectedBytes)
            weighted.encodeKernel(source.span, columnCount: 256, importance: nil, into: &actualBytes, level: level)
            #expect(expected == actual, "\(family)")
        }
    }

    /// What the caller should have refused gives some bytes, and no trap.
    @Test(arguments: GGMLType.allCases.filter { Codec.canEncode(.block($0), hasImportance: true) })
    func numbersThatAreNoneDoNotTrap(_ type: GGMLType) throws {
        let bad: [Float] = [.nan, .infinity, -.infinity, -.nan, .greatestFiniteMagnitude, 1]
        for kinds in 1...bad.count {
            let source = (0..<1024).map { bad[Int(CodecInputs.output(52, $0) % UInt64(kinds))] }
            if blockEncoder(type) != nil { _ = try Codec.encoded(source, as: .block(type), columnCount: 256) }
            let importance = Array(source.suffix(256))
            _ = try Codec.encoded(source, as: .block(type), columnCount: 256, importance: importance)
            let usual = [Float](repeating: 1, count: 256)
            _ = try Codec.encoded(source, as: .block(type), columnCount: 256, importance: usual)
            _ = try Codec.encoded(source.map { $0.isFinite ? $0 : 0.5 }, as: .block(type), columnCount: 256, importance: importance)
        }
    }
}
