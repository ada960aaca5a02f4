import Formats
import TestSupport
import Testing

@Suite struct BlockAssemblyTests {
    /// What a type's numbers may be.
    struct Ranges {
        var levels: ClosedRange<Int>
        var groupWidth: Int?
        var groupScales: ClosedRange<Int> = 1...1
        var groupMinimums: ClosedRange<Int>?
        var hasMinimum = false
        var codebook = false
    }

    static let ranges: [(GGMLType, Ranges)] = [
        (.q4_0, Ranges(levels: -8...7)), (.q5_0, Ranges(levels: -16...15)), (.q8_0, Ranges(levels: -127...127)),
        (.q4_1, Ranges(levels: 0...15, hasMinimum: true)), (.q5_1, Ranges(levels: 0...31, hasMinimum: true)),
        (.iq4_nl, Ranges(levels: 0...15, codebook: true)),
        (.q3_K, Ranges(levels: -4...3, groupWidth: 16, groupScales: -32...31)),
        (.q6_K, Ranges(levels: -32...31, groupWidth: 16, groupScales: -128...127)),
        (.iq4_xs, Ranges(levels: 0...15, groupWidth: 32, groupScales: -32...31, codebook: true)),
        (.q2_K, Ranges(levels: 0...3, groupWidth: 16, groupScales: 0...15, groupMinimums: 0...15, hasMinimum: true)),
        (.q4_K, Ranges(levels: 0...15, groupWidth: 32, groupScales: 0...63, groupMinimums: 0...63, hasMinimum: true)),
        (.q5_K, Ranges(levels: 0...31, groupWidth: 32, groupScales: 0...63, groupMinimums: 0...63, hasMinimum: true)),
    ]

    /// Random numbers in range come back from the decoder, which is tested against the reference.
    @Test(arguments: 0..<12) func decodesToTheNumbers(index: Int) throws {
        let (type, ranges) = Self.ranges[index]
        let codebook: [Float] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
        var random = SeededRandom(seed: 3)
        for _ in 0..<50 {
            let groups = ranges.groupWidth.map { type.blockSize / $0 } ?? 0
            let numbers = BlockNumbers(
                scale: Float(Int.random(in: 1...2047, using: &random)) / 4096,
                minimum: ranges.hasMinimum ? Float(Int.random(in: -2047...2047, using: &random)) / 1024 : 0,
                groupScales: (0..<groups).map { _ in Int.random(in: ranges.groupScales, using: &random) },
                groupMinimums: ranges.groupMinimums.map { range in (0..<groups).map { _ in Int.random(in: range, using: &random) } } ?? [],
                levels: (0..<type.blockSize).map { _ in Int.random(in: ranges.levels, using: &random) })
            var block = [UInt8](repeating: 0, count: type.typeSize)
            var span = block.mutableSpan
            numbers.assemble(type, into: &span)
            var decoded = [Float](repeating: 0, count: type.blockSize)
            var target = decoded.mutableSpan
            let stored = TensorBytes(block)
            try Codec.decode(.block(type), stored.bytes, into: &target)
            for element in 0..<type.blockSize {
                let group = ranges.groupWidth.map { element / $0 }
                let scale = group.map { numbers.scale * Float(numbers.groupScales[$0]) } ?? numbers.scale
                let level = ranges.codebook ? codebook[numbers.levels[element]] : Float(numbers.levels[element])
                var expected = scale * level
                if ranges.groupMinimums != nil {
                    expected -= numbers.minimum * Float(numbers.groupMinimums[group ?? 0])
                } else if ranges.hasMinimum {
                    expected += numbers.minimum
                }
                #expect(decoded[element] == expected)
            }
        }
        #expect(BlockNumbers.canAssemble(type))
    }
}
