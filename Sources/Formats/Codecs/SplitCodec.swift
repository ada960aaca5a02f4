/// Rows of split tensors; see `SplitLayout`.
public enum SplitCodec {
    /// Decodes whole rows.
    package static func decode(_ layout: SplitLayout, _ source: RawSpan, into target: inout MutableSpan<Float>) {
        let rowCount = target.count / layout.columnCount
        precondition(
            rowCount * layout.columnCount == target.count && rowCount * layout.rowByteCount == source.byteCount, "whole rows of a split tensor")
        for row in 0..<rowCount {
            var offset = row * layout.rowByteCount
            var start = row * layout.columnCount
            for part in layout.parts {
                var (scale, zero, left) = (Float(0), Float(0), 0)
                var (bits, count) = (UInt32(0), 0)
                for group in 0..<layout.groupCount {
                    let first = start + group * layout.groupWidth
                    for column in first..<first + part.width {
                        if left == 0 {
                            scale = Float(halfBits: source.littleEndian(UInt16.self, at: offset))
                            zero = Float(source.littleEndian(UInt8.self, at: offset + 2))
                            offset += 3
                            (bits, count) = (0, 0)
                            left = layout.scaleWidth ?? Int.max
                        }
                        left -= 1
                        if count < part.bits {
                            bits |= UInt32(source.littleEndian(UInt8.self, at: offset)) << UInt32(count)
                            offset += 1
                            count += 8
                        }
                        target[column] = scale * (Float(bits & (1 << UInt32(part.bits) - 1)) - zero)
                        bits >>= UInt32(part.bits)
                        count -= part.bits
                    }
                }
                start += part.width
            }
        }
    }

    /// Rounds whole rows to nearest.
    ///
    ///     symmetric:  s = max|w| / (2^(b-1) - 1), z = 2^(b-1)       else  s = (max - min) / (2^b - 1), z = round(-min / s), min ≤ 0 ≤ max
    ///     code = clamp(round(w / s) + z, 0, 2^b - 1)                s rounded to F16, halves to even
    package static func encode(_ layout: SplitLayout, _ source: Span<Float>, into target: inout MutableRawSpan) {
        let rowCount = source.count / layout.columnCount
        precondition(
            rowCount * layout.columnCount == source.count && rowCount * layout.rowByteCount == target.byteCount, "whole rows of a split tensor")
        let runs = layout.parts.indices.flatMap { part in
            let columns = layout.columns(ofPart: part)
            return layout.runs(ofPart: part).map { (layout.parts[part], columns[$0]) }
        }
        for row in 0..<rowCount {
            let values = source.extracting(row * layout.columnCount..<(row + 1) * layout.columnCount)
            var offset = row * layout.rowByteCount
            for (part, columns) in runs {
                var (least, most): (Float, Float) = (0, 0)
                for column in columns { (least, most) = (min(least, values[column]), max(most, values[column])) }
                let steps = Float(1 << part.bits - 1)
                let half = Float(1 << (part.bits - 1))
                // Clamped here: whoever writes a file refuses larger numbers before.
                let exact = min(part.isSymmetric ? max(-least, most) / (half - 1) : (most - least) / steps, 65504)
                let scale = Float(halfBits: exact.halfBits)
                let usable = scale > 0
                let zero = part.isSymmetric ? half : usable ? min((-least / scale).rounded(.toNearestOrEven), steps) : 0
                let codes = columns.map { column in
                    usable ? UInt8(min(max((values[column] / scale).rounded(.toNearestOrEven) + zero, 0), steps)) : UInt8(zero)
                }
                write(codes, scale: usable ? exact.halfBits : 0, zero: UInt8(zero), bits: part.bits, into: &target, at: &offset)
            }
        }
    }

    /// Writes columns with one scale: a part of a row, or a run of it.
    /// - Parameters:
    ///   - scale: rounded to F16.
    ///   - offset: where they begin; afterwards, where the next begin.
    package static func write(
        _ codes: [UInt8], scale: Float, zero: UInt8, bits: Int, into target: inout MutableRawSpan, at offset: inout Int
    ) {
        write(codes, scale: scale.halfBits, zero: zero, bits: bits, into: &target, at: &offset)
    }

    private static func write(
        _ codes: [UInt8], scale: UInt16, zero: UInt8, bits: Int, into target: inout MutableRawSpan, at offset: inout Int
    ) {
        target.storeBytes(of: scale.littleEndian, toByteOffset: offset, as: UInt16.self)
        target.storeBytes(of: zero, toByteOffset: offset + 2, as: UInt8.self)
        offset += 3
        var (pending, count) = (UInt32(0), 0)
        for code in codes {
            pending |= UInt32(code) << UInt32(count)
            count += bits
            while count >= 8 {
                target.storeBytes(of: UInt8(truncatingIfNeeded: pending), toByteOffset: offset, as: UInt8.self)
                pending >>= 8
                count -= 8
                offset += 1
            }
        }
        if count > 0 {
            target.storeBytes(of: UInt8(truncatingIfNeeded: pending), toByteOffset: offset, as: UInt8.self)
            offset += 1
        }
    }

    /// The first row with a scale that is not finite.
    static func firstInvalidRow(_ layout: SplitLayout, _ source: RawSpan) -> Int? {
        let byteCounts = layout.parts.indices.flatMap { part in layout.runs(ofPart: part).map { layout.parts[part].byteCount(columns: $0.count) } }
        for row in 0..<source.byteCount / layout.rowByteCount {
            var offset = row * layout.rowByteCount
            for byteCount in byteCounts {
                if source.littleEndian(UInt16.self, at: offset) & 0x7c00 == 0x7c00 { return row }
                offset += byteCount
            }
        }
        return nil
    }
}
