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
    var codebook: Codebook?

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
        case .iq2_xxs: unsafe WeightedKernel(encode: resq_encode_weighted_iq2_xxs, codebook: .iq2xxs)
        case .iq2_xs: unsafe WeightedKernel(encode: resq_encode_weighted_iq2_xs, codebook: .iq2xs)
        case .iq2_s: unsafe WeightedKernel(encode: resq_encode_weighted_iq2_s, codebook: .iq2s)
        case .iq3_xxs: unsafe WeightedKernel(encode: resq_encode_weighted_iq3_xxs, codebook: .iq3xxs)
        case .iq3_s: unsafe WeightedKernel(encode: resq_encode_weighted_iq3_s, codebook: .iq3s)
        case .iq1_s: unsafe WeightedKernel(encode: resq_encode_weighted_iq1_s, codebook: .iq1)
        case .iq1_m: unsafe WeightedKernel(encode: resq_encode_weighted_iq1_m, codebook: .iq1)
        default: nil
        }
    }

    /// Encodes whole rows of `columnCount` elements, `count` blocks.
    /// - Precondition: both sides hold exactly these, and there is one number of importance per column, or there is none
    ///   and the type is one with a codebook that does not need any; the loop touches nothing else.
    func encode(
        _ source: Span<Float>, columnCount: Int, blockSize: Int, importance: Span<Float>?, into target: inout MutableRawSpan,
        count: Int, level: KernelLevel
    ) {
        let rowCount = count * blockSize / columnCount
        var meanSquares = [Float](repeating: 0, count: unsafe looksAtRows ? rowCount : 0)
        let none: [UInt16] = []
        unsafe source.withUnsafeBufferPointer { floats in
            unsafe target.withUnsafeMutableBytes { bytes in
                unsafe meanSquares.withUnsafeMutableBufferPointer { squares in
                    guard let from = floats.baseAddress, let to = bytes.baseAddress else { return }
                    if unsafe looksAtRows { unsafe resq_row_mean_squares(from, rowCount, columnCount, squares.baseAddress) }
                    unsafe (codebook?.vectors ?? none).withUnsafeBufferPointer { vectors in
                        unsafe (codebook?.candidates ?? none).withUnsafeBufferPointer { candidates in
                            unsafe (codebook?.places ?? []).withUnsafeBufferPointer { places in
                                var weights = unsafe resq_importance(
                                    columns: nil, blocks_per_row: columnCount / blockSize, row_mean_squares: squares.baseAddress,
                                    vectors: vectors.baseAddress, places: places.baseAddress, candidates: candidates.baseAddress)
                                let bytes = unsafe to.assumingMemoryBound(to: UInt8.self)
                                if let importance {
                                    unsafe importance.withUnsafeBufferPointer { columns in
                                        unsafe weights.columns = columns.baseAddress
                                        unsafe encode(from, &weights, bytes, count, level.c)
                                    }
                                } else {
                                    unsafe encode(from, &weights, bytes, count, level.c)
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

extension WeightedBlockEncoder {
    /// Whether the type has a C loop for importance matrices.
    package static var hasWeightedKernel: Bool { unsafe WeightedKernel.of(type) != nil }

    /// Encodes whole rows with the C loop of the type.
    /// - Parameter importance: one number per column; `nil` for none, which only types with a codebook know here that
    ///   are `BlockEncoder` as well.
    /// - Precondition: `hasWeightedKernel`.
    package static func encodeKernel(
        _ source: Span<Float>, columnCount: Int, importance: Span<Float>?, into target: inout MutableRawSpan,
        level: KernelLevel = .newest
    ) {
        guard let kernel = unsafe WeightedKernel.of(type) else { preconditionFailure("\(type.name) has no kernel") }
        precondition(importance?.count ?? columnCount == columnCount, "one number per column")
        precondition(unsafe importance != nil || kernel.codebook != nil, "importance, or a codebook")
        // Both sides hold that many blocks, as the count checks, and they are whole rows.
        let count = blockCount(elements: source.count, bytes: target.byteCount)
        guard count > 0 else { return }
        precondition(source.count % columnCount == 0 && columnCount % type.blockSize == 0, "whole rows of whole blocks")
        unsafe kernel.encode(
            source, columnCount: columnCount, blockSize: type.blockSize, importance: importance, into: &target, count: count,
            level: level)
    }
}
