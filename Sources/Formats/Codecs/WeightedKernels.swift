import CKernels

/// The C loop that encodes the blocks of a type with an importance matrix.
@unsafe private struct WeightedKernel {
    typealias Encode =
        @convention(c) (
            UnsafePointer<Float>?, UnsafePointer<resq_importance>?, UnsafeMutablePointer<UInt8>?, Int, resq_level
        ) -> Void

    var encode: Encode
    /// Whether the mean square of the row counts, rather than that of the block.
    var looksAtRows = false

    /// The loop of a type, or `nil` when it has none.
    static func of(_ type: GGMLType) -> WeightedKernel? {
        switch type {
        case .q4_0: unsafe WeightedKernel(encode: resq_encode_weighted_q4_0, looksAtRows: true)
        case .q4_1: unsafe WeightedKernel(encode: resq_encode_weighted_q4_1, looksAtRows: true)
        case .q5_0: unsafe WeightedKernel(encode: resq_encode_weighted_q5_0, looksAtRows: true)
        case .q5_1: unsafe WeightedKernel(encode: resq_encode_weighted_q5_1, looksAtRows: true)
        case .q2_K: unsafe WeightedKernel(encode: resq_encode_weighted_q2_K)
        case .q3_K: unsafe WeightedKernel(encode: resq_encode_weighted_q3_K)
        case .q4_K: unsafe WeightedKernel(encode: resq_encode_weighted_q4_K)
        case .q5_K: unsafe WeightedKernel(encode: resq_encode_weighted_q5_K)
        case .q6_K: unsafe WeightedKernel(encode: resq_encode_weighted_q6_K)
        case .iq4_nl: unsafe WeightedKernel(encode: resq_encode_weighted_iq4_nl)
        case .iq4_xs: unsafe WeightedKernel(encode: resq_encode_weighted_iq4_xs)
        default: nil
        }
    }
}

extension WeightedBlockEncoder {
    /// Whether the type has a C loop for importance matrices.
    package static var hasWeightedKernel: Bool { unsafe WeightedKernel.of(type) != nil }

    /// Encodes whole rows of `importance.count` elements with the C loop of the type.
    /// - Precondition: `hasWeightedKernel`.
    package static func encodeKernel(
        _ source: Span<Float>, importance: Span<Float>, into target: inout MutableRawSpan, level: KernelLevel = .newest
    ) {
        guard let kernel = unsafe WeightedKernel.of(type) else { preconditionFailure("\(type.name) has no kernel") }
        // Both sides hold that many blocks, as the count checks, and they are whole rows.
        let count = blockCount(elements: source.count, bytes: target.byteCount)
        let columnCount = importance.count
        let rowCount = columnCount > 0 ? source.count / columnCount : 0
        precondition(rowCount * columnCount == source.count && columnCount % type.blockSize == 0, "whole rows of whole blocks")
        var meanSquares = [Float](repeating: 0, count: unsafe kernel.looksAtRows ? rowCount : 0)
        unsafe source.withUnsafeBufferPointer { floats in
            unsafe importance.withUnsafeBufferPointer { columns in
                unsafe target.withUnsafeMutableBytes { bytes in
                    unsafe meanSquares.withUnsafeMutableBufferPointer { squares in
                        guard let from = floats.baseAddress, let to = bytes.baseAddress else { return }
                        if unsafe kernel.looksAtRows, let squares = squares.baseAddress {
                            unsafe resq_row_mean_squares(from, rowCount, columnCount, squares)
                        }
                        var weights = unsafe resq_importance(
                            columns: columns.baseAddress, blocks_per_row: columnCount / type.blockSize,
                            row_mean_squares: squares.baseAddress)
                        unsafe kernel.encode(from, &weights, to.assumingMemoryBound(to: UInt8.self), count, level.c)
                    }
                }
            }
        }
    }
}
