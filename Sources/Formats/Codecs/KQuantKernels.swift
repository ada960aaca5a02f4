import CKernels

/// The newest instruction set that the C loops may use; every choice gives the same bits.
package enum KernelLevel: CaseIterable, Sendable {
    /// What every processor of the architecture has.
    case baseline
    /// x86-64-v3: 256-bit vectors.
    case x86_64_v3
    /// The best of the processor at hand.
    case newest

    fileprivate var c: resq_level {
        switch self {
        case .baseline: RESQ_BASELINE
        case .x86_64_v3: RESQ_X86_64_V3
        case .newest: RESQ_NEWEST
        }
    }
}

extension KQuantBlock {
    /// Decodes whole blocks with the C loop of the type.
    package static func decodeKernel(
        _ source: RawSpan, into target: inout MutableSpan<Float>, level: KernelLevel = .newest
    ) {
        let count = blockCount(elements: target.count, bytes: source.byteCount)
        // Both sides hold `count` blocks, just checked, and the loop touches nothing else.
        unsafe source.withUnsafeBytes { bytes in
            unsafe target.withUnsafeMutableBufferPointer { floats in
                guard let from = bytes.baseAddress, let to = floats.baseAddress else { return }
                unsafe kernels.decode(from.assumingMemoryBound(to: UInt8.self), to, count, level.c)
            }
        }
    }

    /// Encodes whole blocks with the C loop of the type.
    package static func encodeKernel(
        _ source: Span<Float>, into target: inout MutableRawSpan, level: KernelLevel = .newest
    ) {
        let count = blockCount(elements: source.count, bytes: target.byteCount)
        // Both sides hold `count` blocks, just checked, and the loop touches nothing else.
        unsafe source.withUnsafeBufferPointer { floats in
            unsafe target.withUnsafeMutableBytes { bytes in
                guard let from = floats.baseAddress, let to = bytes.baseAddress else { return }
                unsafe kernels.encode(from, to.assumingMemoryBound(to: UInt8.self), count, level.c)
            }
        }
    }

    private static var kernels: Kernels {
        switch type {
        case .q2_K: unsafe Kernels(encode: resq_encode_q2_K, decode: resq_decode_q2_K)
        case .q3_K: unsafe Kernels(encode: resq_encode_q3_K, decode: resq_decode_q3_K)
        case .q4_K: unsafe Kernels(encode: resq_encode_q4_K, decode: resq_decode_q4_K)
        case .q5_K: unsafe Kernels(encode: resq_encode_q5_K, decode: resq_decode_q5_K)
        case .q6_K: unsafe Kernels(encode: resq_encode_q6_K, decode: resq_decode_q6_K)
        case .iq4_nl: unsafe Kernels(encode: resq_encode_iq4_nl, decode: resq_decode_iq4_nl)
        case .iq4_xs: unsafe Kernels(encode: resq_encode_iq4_xs, decode: resq_decode_iq4_xs)
        default: preconditionFailure("\(type.name) has no kernel")
        }
    }
}

/// The two C loops of a type.
@unsafe private struct Kernels {
    var encode: @convention(c) (UnsafePointer<Float>?, UnsafeMutablePointer<UInt8>?, Int, resq_level) -> Void
    var decode: @convention(c) (UnsafePointer<UInt8>?, UnsafeMutablePointer<Float>?, Int, resq_level) -> Void
}
