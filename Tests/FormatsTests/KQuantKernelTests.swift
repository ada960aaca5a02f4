import Testing

import Formats
import TestSupport

/// The C loops against the definitions, bit for bit, with every instruction set that this processor has.
@Suite struct KQuantKernelTests {
    static let types: [GGMLType] = [.q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_nl, .iq4_xs]

    /// 37 blocks of 256: two full vectors of sixteen and a tail, so missing lanes are seen too.
    private static let count = 37 * 256

    @Test(arguments: types, KernelLevel.allCases) func encodersAgree(_ type: GGMLType, _ level: KernelLevel) throws {
        let block = try #require(blockEncoder(type))
        for (name, family) in Self.families {
            let source = family()
            let size = source.count / type.blockSize * type.typeSize
            var expected = [UInt8](repeating: 0, count: size)
            var actual = [UInt8](repeating: 0xaa, count: size)
            var expectedSpan = expected.mutableSpan
            var actualSpan = actual.mutableSpan
            // Bytes have no invalid values.
            var expectedBytes = unsafe expectedSpan.mutableBytes
            var actualBytes = unsafe actualSpan.mutableBytes
            block.encodeScalar(source.span, into: &expectedBytes)
            block.encodeKernel(source.span, into: &actualBytes, level: level)
            let difference = zip(expected, actual).enumerated().first { $1.0 != $1.1 }?.offset
            #expect(difference == nil, "\(name): byte \(difference! % type.typeSize) of block \(difference! / type.typeSize)")
        }
    }

    /// Any bytes are valid blocks.
    @Test(arguments: types, KernelLevel.allCases) func decodersAgree(_ type: GGMLType, _ level: KernelLevel) throws {
        let block = try #require(blockEncoder(type))
        var random = SeededRandom(seed: 99)
        let source = random.bytes(Self.count / type.blockSize * type.typeSize)
        var expected = [Float](repeating: 0, count: Self.count)
        var actual = [Float](repeating: 1, count: Self.count)
        var expectedSpan = expected.mutableSpan
        var actualSpan = actual.mutableSpan
        // Bytes have no invalid values.
        unsafe block.decodeScalar(source.span.bytes, into: &expectedSpan)
        unsafe block.decodeKernel(source.span.bytes, into: &actualSpan, level: level)
        func bits(_ value: Float) -> UInt32 { value.isNaN ? Float.nan.bitPattern : value.bitPattern }
        let difference = zip(expected, actual).enumerated().first { bits($1.0) != bits($1.1) }?.offset
        #expect(difference == nil, "element \(difference!)")
    }

    /// No blocks are no work.
    @Test(arguments: types) func emptyIsFine(_ type: GGMLType) throws {
        let block = try #require(blockEncoder(type))
        var bytes: [UInt8] = []
        var floats: [Float] = []
        var byteSpan = bytes.mutableSpan
        var raw = unsafe byteSpan.mutableBytes
        block.encodeKernel([Float]().span, into: &raw)
        var floatSpan = floats.mutableSpan
        unsafe block.decodeKernel([UInt8]().span.bytes, into: &floatSpan)
    }

    private static func make(_ seed: UInt64, _ element: (inout SeededRandom, Int) -> Float) -> [Float] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { element(&random, $0) }
    }

    private static func scaled(_ seed: UInt64, _ factor: Float) -> () -> [Float] {
        { make(seed) { random, _ in random.normal() * factor } }
    }

    private static let families: [(String, @Sendable () -> [Float])] = [
        ("normal", { scaled(1, 0.02)() }),
        ("uniform", { make(2) { random, _ in 2 * random.uniform() - 1 } }),
        ("zeros", { make(0) { _, _ in 0 } }),
        ("negative zeros", { make(0) { _, _ in -0.0 } }),
        ("constant", { make(0) { _, i in Float(i / 16 % 17) * 0.1 - 0.8 } }),
        ("outliers", { make(3) { random, _ in random.normal() * (random.next() % 40 == 0 ? 20 : 0.02) } }),
        ("groups of very different size", { make(4) { random, i in random.normal() / Float(1 << (i / 16 % 23)) } }),
        ("1e-14", { scaled(5, 1e-14)() }),
        ("1e-30", { scaled(6, 1e-30)() }),
        ("1e-37", { scaled(7, 1e-37)() }),
        ("denormal", { scaled(8, Float(bitPattern: 0x1_16c2))() }),
        ("grid", { make(9) { random, _ in Float(random.next() % 16) - 8 } }),
        ("ties", { make(10) { random, i in i % 32 == 0 ? -16 : Float(random.next() % 65) * 0.5 - 16 } }),
        ("ternary", { make(11) { random, _ in Float(random.next() % 3) - 1 } }),
        ("positive", { make(12) { random, _ in random.normal().magnitude } }),
        ("negative", { make(13) { random, _ in -random.normal().magnitude } }),
        ("offset", { make(14) { random, _ in random.uniform() + 1 } }),
        ("sparse", { make(15) { random, i in i / 16 % 3 == 0 || random.next() % 4 == 0 ? 0 : random.normal() } }),
        ("1e6", { scaled(16, 1e6)() }),
        ("1e30", { scaled(17, 1e30)() }),
        ("3e38", { make(18) { random, _ in (2 * random.uniform() - 1) * 3e38 } }),
        ("infinities", { make(19) { random, _ in random.next() % 300 == 0 ? -.infinity : random.normal() } }),
        ("any bits", { make(20) { random, _ in Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) } }),
    ]
}

extension SeededRandom {
    /// In [0, 1).
    fileprivate mutating func uniform() -> Float { Float(next() >> 40) * 0x1p-24 }
    /// Roughly normal, of variance 1/3.
    fileprivate mutating func normal() -> Float { uniform() + uniform() + uniform() + uniform() - 2 }
}
