/// Q8_0: 32 elements in 34 bytes.
///
///     byte 0   d    f16       scale
///          2   qs   32 x i8   codes
///
///     element = d * code
///
/// The scale maps the largest magnitude to 127; codes are rounded to nearest, ties away from zero.
package enum Q8_0: BlockEncoder {
    package static var type: GGMLType { .q8_0 }

    package static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>) {
        let d = half(block, at: 0)
        for i in 0..<32 { target[i] = d * Float(Int8(bitPattern: block[2 + i])) }
    }

    package static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>) {
        let d = largestMagnitude(source) / 127
        let id = inverse(d)
        _ = storeHalf(d, &block, at: 0)
        for i in 0..<32 { block[2 + i] = UInt8(truncatingIfNeeded: roundedAway(source[i] * id)) }
    }
}
