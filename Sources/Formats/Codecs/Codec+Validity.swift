extension Codec {
    /// The index of the first NaN or infinity.
    public static func firstNonFinite(_ elements: Span<Float>) -> Int? {
        // Runs without a branch inside, so that they vectorize; then the one with a find, element by element.
        let run = 1024
        var start = 0
        while start < elements.count {
            let end = min(start + run, elements.count)
            let part = elements.extracting(start..<end)
            var carries: UInt32 = 0
            for i in part.indices { carries |= carry(part[i]) }
            if carries >> 31 == 1 {
                for i in part.indices where carry(part[i]) >> 31 == 1 { return start + i }
            }
            start = end
        }
        return nil
    }

    /// Sets the highest bit when the exponent is all ones, as in NaN and infinities, and in no other case.
    @inline(__always)
    private static func carry(_ value: Float) -> UInt32 { (value.bitPattern & 0x7f80_0000) &+ 0x0080_0000 }

    /// The index of the first block with a NaN or infinite scale, as llama.cpp's check of tensors finds it; of plain
    /// floating-point numbers the index of the first NaN or infinity. Integers are always valid.
    /// - Parameter source: whole blocks; bytes after the last whole one are not looked at.
    public static func firstInvalidBlock(_ encoding: Encoding, _ source: RawSpan) -> Int? {
        switch encoding {
        case .plain(let dtype): firstInvalidElement(dtype, source)
        case .block(let type): firstInvalidBlock(type, source)
        case .split(let layout): SplitCodec.firstInvalidRow(layout, source)
        // Nobody but its plugin knows what a block may hold.
        case .custom: nil
        }
    }

    private static func firstInvalidElement(_ dtype: DType, _ source: RawSpan) -> Int? {
        guard dtype.isFloatingPoint else { return nil }
        switch dtype {
        case .f64: return firstNonFinite(source, bitWidth: 64, exponent: 0x7ff0_0000_0000_0000)
        case .f32: return firstNonFinite(source, bitWidth: 32, exponent: 0x7f80_0000)
        case .f16: return firstNonFinite(source, bitWidth: 16, exponent: 0x7c00)
        case .bf16: return firstNonFinite(source, bitWidth: 16, exponent: 0x7f80)
        default: break
        }
        // A run of 4096 elements is whole bytes whatever the width.
        let run = 4096
        var elements = [Float](repeating: 0, count: run)
        let count = source.byteCount * 8 / dtype.bitWidth
        for start in stride(from: 0, to: count, by: run) {
            let length = min(run, count - start)
            let bytes = start * dtype.bitWidth / 8..<(start + length) * dtype.bitWidth / 8
            var span = elements.mutableSpan
            var part = span.part(0..<length)
            PlainCodec.decode(dtype, source.extracting(bytes), into: &part)
            if let found = firstNonFinite(elements.span.extracting(0..<length)) { return start + found }
        }
        return nil
    }

    /// The first element whose exponent bits are all ones, as in NaN and infinities; 64 bits of elements at a time.
    ///
    /// Adding the lowest exponent bit to the exponent alone sets the element's highest bit in that case, and never more.
    private static func firstNonFinite(_ source: RawSpan, bitWidth: Int, exponent: UInt64) -> Int? {
        let ones: UInt64 = bitWidth == 16 ? 0x0001_0001_0001_0001 : bitWidth == 32 ? 0x0000_0001_0000_0001 : 1
        let mask = exponent &* ones, lowest = (exponent & (0 &- exponent)) &* ones, highest = ones << UInt64(bitWidth - 1)
        let width = bitWidth / 8
        let run = 1 << 13
        for start in stride(from: 0, to: source.byteCount, by: run) {
            let part = source.extracting(start..<min(start + run, source.byteCount))
            var carries: UInt64 = 0
            var offset = 0
            while offset + 8 <= part.byteCount {
                carries |= (part.littleEndian(UInt64.self, at: offset) & mask) &+ lowest
                offset += 8
            }
            // The last elements may not fill eight bytes.
            guard carries & highest != 0 || offset < part.byteCount else { continue }
            for element in 0..<part.byteCount / width {
                var bits: UInt64 = 0
                for byte in 0..<width { bits |= UInt64(part.littleEndian(UInt8.self, at: element * width + byte)) << UInt64(8 * byte) }
                if bits & exponent == exponent { return start / width + element }
            }
        }
        return nil
    }

    private static func firstInvalidBlock(_ type: GGMLType, _ source: RawSpan) -> Int? {
        let offsets = type.halfScaleOffsets
        if !offsets.isEmpty {
            return offsets.compactMap { firstNonFiniteHalf(source, at: $0, stride: type.typeSize) }.min()
        }
        for block in 0..<source.byteCount / type.typeSize {
            let start = block * type.typeSize
            switch type {
            case .mxfp4: if source.littleEndian(UInt8.self, at: start) == 0xff { return block }
            case .q8_K: if source.littleEndian(UInt32.self, at: start) & 0x7f80_0000 == 0x7f80_0000 { return block }
            case .iq1_m:
                // The exponent is spread over the last two of the four words that hold parts of the scale.
                let (third, fourth) = (
                    source.littleEndian(UInt16.self, at: start + 52), source.littleEndian(UInt16.self, at: start + 54)
                )
                if (third >> 4 & 0x0f00 | fourth & 0xf000) & 0x7c00 == 0x7c00 { return block }
            default: return nil
            }
        }
        return nil
    }

    /// The first of the F16 numbers that stand `stride` bytes apart whose exponent bits are all ones.
    private static func firstNonFiniteHalf(_ source: RawSpan, at offset: Int, stride: Int) -> Int? {
        for index in 0..<source.byteCount / stride
        where source.littleEndian(UInt16.self, at: index * stride + offset) & 0x7c00 == 0x7c00 { return index }
        return nil
    }
}

extension GGMLType {
    /// Where the F16 scales and minimums of a block stand. NVFP4 has scales of another kind, all finite.
    fileprivate var halfScaleOffsets: [Int] {
        switch self {
        case .q4_0, .q5_0, .q8_0, .q1_0, .q2_0, .iq1_s, .iq2_xxs, .iq2_xs, .iq2_s, .iq3_xxs, .iq3_s, .iq4_nl, .iq4_xs: [0]
        case .q4_1, .q5_1, .q8_1, .q4_K, .q5_K: [0, 2]
        case .q2_K: [80, 82]
        case .q3_K: [108]
        case .q6_K: [208]
        case .tq1_0: [52]
        case .tq2_0: [64]
        default: []
        }
    }
}
