/// Elements of one dtype after another, little-endian, without scales.
///
/// F16 and BF16 go through C loops; `Float.init(halfBits:)`, `halfBits` and `brainBits` are their definitions.
package enum PlainCodec {
    package static func canDecode(_ dtype: DType) -> Bool { dtype != .c64 }

    package static func canEncode(_ dtype: DType) -> Bool { [.f32, .f16, .bf16, .f64].contains(dtype) }

    /// Decodes `target.count` elements.
    ///
    /// Exact for every floating-point dtype of at most 32 bits and for integers below 2^24; F64 and larger integers are
    /// rounded to nearest even (F64 beyond the range of `Float` becomes infinite). BOOL gives 0, or 1 for any byte but 0.
    /// NaN stays NaN.
    /// - Precondition: `canDecode`, and the bytes of exactly these elements.
    package static func decode(
        _ dtype: DType, _ source: RawSpan, into target: inout MutableSpan<Float>, level: KernelLevel = .newest
    ) {
        let (bits, overflow) = target.count.multipliedReportingOverflow(by: dtype.bitWidth)
        precondition(
            !overflow && bits == source.byteCount * 8,
            "\(dtype.rawValue): \(target.count) elements are not \(source.byteCount) bytes")
        switch dtype {
        case .f32: each(source, into: &target) { (bits: UInt32) in Float(bitPattern: bits) }
        // The counts were just checked.
        case .f16: unsafe BlockKernels.f16.decode(source, into: &target, count: target.count, level: level)
        case .bf16: unsafe BlockKernels.bf16.decode(source, into: &target, count: target.count, level: level)
        case .f64: each(source, into: &target) { (bits: UInt64) in Float(Double(bitPattern: bits)) }
        case .i8: each(source, into: &target) { (value: Int8) in Float(value) }
        case .i16: each(source, into: &target) { (value: Int16) in Float(value) }
        case .i32: each(source, into: &target) { (value: Int32) in Float(value) }
        case .i64: each(source, into: &target) { (value: Int64) in Float(value) }
        case .u8: each(source, into: &target) { (value: UInt8) in Float(value) }
        case .u16: each(source, into: &target) { (value: UInt16) in Float(value) }
        case .u32: each(source, into: &target) { (value: UInt32) in Float(value) }
        case .u64: each(source, into: &target) { (value: UInt64) in Float(value) }
        case .bool: each(source, into: &target) { (value: UInt8) in value == 0 ? 0 : 1 }
        case .f8e4m3: bytes(source, SmallFloat.f8e4m3, into: &target)
        case .f8e5m2: bytes(source, SmallFloat.f8e5m2, into: &target)
        case .f8e8m0: bytes(source, SmallFloat.f8e8m0, into: &target)
        case .f8e4m3fnuz: bytes(source, SmallFloat.f8e4m3fnuz, into: &target)
        case .f8e5m2fnuz: bytes(source, SmallFloat.f8e5m2fnuz, into: &target)
        case .f4: packed(source, SmallFloat.f4, bitWidth: 4, into: &target)
        case .f6e2m3: packed(source, SmallFloat.f6e2m3, bitWidth: 6, into: &target)
        case .f6e3m2: packed(source, SmallFloat.f6e3m2, bitWidth: 6, into: &target)
        case .c64: preconditionFailure("complex numbers are not real ones")
        }
    }

    /// Encodes all elements; F16 and BF16 round to nearest even, too large becomes infinite, NaN becomes a quiet NaN.
    /// - Precondition: `canEncode`, and room for exactly these elements.
    package static func encode(
        _ dtype: DType, _ source: Span<Float>, into target: inout MutableRawSpan, level: KernelLevel = .newest
    ) {
        precondition(
            source.count <= target.byteCount && source.count * dtype.bitWidth == target.byteCount * 8,
            "\(dtype.rawValue): \(source.count) elements are not \(target.byteCount) bytes")
        switch dtype {
        case .f32: each(source, into: &target) { $0.bitPattern }
        // The counts were just checked.
        case .f16: unsafe BlockKernels.f16.encode(source, into: &target, count: source.count, level: level)
        case .bf16: unsafe BlockKernels.bf16.encode(source, into: &target, count: source.count, level: level)
        case .f64: each(source, into: &target) { Double($0).bitPattern }
        default: preconditionFailure("\(dtype.rawValue) is not encoded")
        }
    }

    private static func each<T: FixedWidthInteger & BitwiseCopyable>(
        _ source: RawSpan, into target: inout MutableSpan<Float>, _ value: (T) -> Float
    ) {
        for i in target.indices { target[i] = value(source.littleEndian(T.self, at: i * MemoryLayout<T>.size)) }
    }

    private static func each<T: FixedWidthInteger & BitwiseCopyable>(
        _ source: Span<Float>, into target: inout MutableRawSpan, _ bits: (Float) -> T
    ) {
        for i in source.indices {
            target.storeBytes(of: bits(source[i]).littleEndian, toByteOffset: i * MemoryLayout<T>.size, as: T.self)
        }
    }

    private static func bytes(_ source: RawSpan, _ format: SmallFloat, into target: inout MutableSpan<Float>) {
        let values = format.values.span
        for i in target.indices { target[i] = values[Int(source.littleEndian(UInt8.self, at: i))] }
    }

    /// Elements of 4 or 6 bits fill the bytes from the lowest bit up.
    private static func packed(
        _ source: RawSpan, _ format: SmallFloat, bitWidth: Int, into target: inout MutableSpan<Float>
    ) {
        let values = format.values.span
        for i in target.indices {
            let bit = i * bitWidth
            var word = Int(source.littleEndian(UInt8.self, at: bit / 8))
            if bit % 8 + bitWidth > 8 { word |= Int(source.littleEndian(UInt8.self, at: bit / 8 + 1)) << 8 }
            target[i] = values[word >> (bit % 8) & (1 << bitWidth - 1)]
        }
    }
}

extension Float {
    /// The value of bfloat16 bits.
    package init(brainBits bits: UInt16) { self.init(bitPattern: UInt32(bits) << 16) }

    /// The nearest bfloat16 bits, ties to even; NaN becomes quiet and keeps its sign and its upper payload.
    package var brainBits: UInt16 {
        if isNaN { return UInt16(truncatingIfNeeded: bitPattern >> 16) | 0x40 }
        return UInt16(truncatingIfNeeded: (bitPattern + 0x7fff + (bitPattern >> 16 & 1)) >> 16)
    }
}
