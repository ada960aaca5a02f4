import CKernels

/// The newest instruction set that the C loops may use; every choice gives the same bits.
package enum KernelLevel: CaseIterable, Sendable {
    /// What every processor of the architecture has.
    case baseline
    /// x86-64-v3: 256-bit vectors.
    case x86_64_v3
    /// The best of the processor at hand.
    case newest

    var c: resq_level {
        switch self {
        case .baseline: RESQ_BASELINE
        case .x86_64_v3: RESQ_X86_64_V3
        case .newest: RESQ_NEWEST
        }
    }
}

/// The two C loops over the blocks of a type, or over single 16-bit numbers.
@unsafe struct BlockKernels {
    fileprivate typealias Encode =
        @convention(c) (UnsafePointer<Float>?, UnsafeMutablePointer<UInt8>?, Int, resq_level) -> Void
    fileprivate typealias Decode =
        @convention(c) (UnsafePointer<UInt8>?, UnsafeMutablePointer<Float>?, Int, resq_level) -> Void

    fileprivate var encode: Encode
    fileprivate var decode: Decode

    static var f16: BlockKernels { unsafe BlockKernels(encode: resq_encode_f16, decode: resq_decode_f16) }
    static var bf16: BlockKernels { unsafe BlockKernels(encode: resq_encode_bf16, decode: resq_decode_bf16) }

    /// The loops of a block type, or `nil` when it has none.
    fileprivate static func of(_ type: GGMLType) -> BlockKernels? {
        switch type {
        case .q4_0: unsafe BlockKernels(encode: resq_encode_q4_0, decode: resq_decode_q4_0)
        case .q4_1: unsafe BlockKernels(encode: resq_encode_q4_1, decode: resq_decode_q4_1)
        case .q5_0: unsafe BlockKernels(encode: resq_encode_q5_0, decode: resq_decode_q5_0)
        case .q5_1: unsafe BlockKernels(encode: resq_encode_q5_1, decode: resq_decode_q5_1)
        case .q8_0: unsafe BlockKernels(encode: resq_encode_q8_0, decode: resq_decode_q8_0)
        case .q2_K: unsafe BlockKernels(encode: resq_encode_q2_K, decode: resq_decode_q2_K)
        case .q3_K: unsafe BlockKernels(encode: resq_encode_q3_K, decode: resq_decode_q3_K)
        case .q4_K: unsafe BlockKernels(encode: resq_encode_q4_K, decode: resq_decode_q4_K)
        case .q5_K: unsafe BlockKernels(encode: resq_encode_q5_K, decode: resq_decode_q5_K)
        case .q6_K: unsafe BlockKernels(encode: resq_encode_q6_K, decode: resq_decode_q6_K)
        case .iq4_nl: unsafe BlockKernels(encode: resq_encode_iq4_nl, decode: resq_decode_iq4_nl)
        case .iq4_xs: unsafe BlockKernels(encode: resq_encode_iq4_xs, decode: resq_decode_iq4_xs)
        default: nil
        }
    }

    /// Decodes `count` blocks or numbers.
    /// - Precondition: both sides hold exactly these; the loop touches nothing else.
    func decode(_ source: RawSpan, into target: inout MutableSpan<Float>, count: Int, level: KernelLevel) {
        unsafe source.withUnsafeBytes { bytes in
            unsafe target.withUnsafeMutableBufferPointer { floats in
                guard let from = bytes.baseAddress, let to = floats.baseAddress else { return }
                unsafe decode(from.assumingMemoryBound(to: UInt8.self), to, count, level.c)
            }
        }
    }

    /// Encodes `count` blocks or numbers.
    /// - Precondition: both sides hold exactly these; the loop touches nothing else.
    func encode(_ source: Span<Float>, into target: inout MutableRawSpan, count: Int, level: KernelLevel) {
        unsafe source.withUnsafeBufferPointer { floats in
            unsafe target.withUnsafeMutableBytes { bytes in
                guard let from = floats.baseAddress, let to = bytes.baseAddress else { return }
                unsafe encode(from, to.assumingMemoryBound(to: UInt8.self), count, level.c)
            }
        }
    }
}

extension BlockCodec {
    /// Whether the type has C loops.
    package static var hasKernels: Bool { unsafe BlockKernels.of(type) != nil }

    /// The type's C loops.
    /// - Precondition: `hasKernels`.
    fileprivate static var kernels: BlockKernels {
        guard let kernels = unsafe BlockKernels.of(type) else { preconditionFailure("\(type.name) has no kernels") }
        return unsafe kernels
    }

    /// Decodes whole blocks with the C loop of the type.
    /// - Precondition: `hasKernels`.
    package static func decodeKernel(
        _ source: RawSpan, into target: inout MutableSpan<Float>, level: KernelLevel = .newest
    ) {
        // Both sides hold that many blocks, as the count checks.
        let count = blockCount(elements: target.count, bytes: source.byteCount)
        unsafe kernels.decode(source, into: &target, count: count, level: level)
    }
}

extension BlockEncoder {
    /// Encodes whole blocks with the C loop of the type.
    /// - Precondition: `hasKernels`.
    package static func encodeKernel(
        _ source: Span<Float>, into target: inout MutableRawSpan, level: KernelLevel = .newest
    ) {
        // Both sides hold that many blocks, as the count checks.
        let count = blockCount(elements: source.count, bytes: target.byteCount)
        unsafe kernels.encode(source, into: &target, count: count, level: level)
    }
}
