import Testing

import Formats

@Suite struct KQuantTests {
    static let types: [GGMLType] = [.q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_nl, .iq4_xs]

    /// Importance matrices are refused, not ignored.
    @Test(arguments: types) func importanceIsRefused(_ type: GGMLType) {
        let source = [Float](repeating: 1, count: 256)
        var target = [UInt8](repeating: 0, count: 256 / type.blockSize * type.typeSize)
        var span = target.mutableSpan
        // Bytes have no invalid values.
        var bytes = unsafe span.mutableBytes
        #expect(throws: FormatError.self) {
            try Codec.encode(source.span, as: .block(type), columnCount: 256, importance: source.span, into: &bytes)
        }
    }
}
