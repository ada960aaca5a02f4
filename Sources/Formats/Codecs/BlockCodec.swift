/// A block type of ggml that can be decoded.
///
/// `decodeBlock` is the definition, one block at a time, written to be read. Types that models are full of have C loops
/// over many blocks as well (BlockKernels.swift), which give the same bits; tests hold the two against each other.
package protocol BlockCodec: SendableMetatype {
    static var type: GGMLType { get }
    /// Decodes one block of `type.typeSize` bytes into `type.blockSize` elements. Any bytes are valid.
    static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>)
}

/// A block type that can be encoded as well.
package protocol BlockEncoder: BlockCodec {
    /// Encodes `type.blockSize` elements; `block` has `type.typeSize` bytes, all zero.
    static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>)
}

extension BlockCodec {
    /// Decodes whole blocks.
    package static func decode(_ source: RawSpan, into target: inout MutableSpan<Float>) {
        if hasKernels { decodeKernel(source, into: &target) } else { decodeScalar(source, into: &target) }
    }

    /// Decodes whole blocks, one at a time.
    package static func decodeScalar(_ source: RawSpan, into target: inout MutableSpan<Float>) {
        let count = blockCount(elements: target.count, bytes: source.byteCount)
        let (elements, size) = (type.blockSize, type.typeSize)
        // Any byte is a valid UInt8.
        let bytes = unsafe source._unsafeView(as: UInt8.self)
        for index in 0..<count {
            var part = target.part(index * elements..<(index + 1) * elements)
            decodeBlock(bytes.extracting(index * size..<(index + 1) * size), into: &part)
        }
    }

    /// The number of blocks, after checking that both sides hold exactly that many.
    static func blockCount(elements: Int, bytes: Int) -> Int {
        let count = elements / type.blockSize
        precondition(
            count * type.blockSize == elements && count * type.typeSize == bytes,
            "\(type.name): \(elements) elements and \(bytes) bytes are not the same whole blocks")
        return count
    }
}

extension BlockEncoder {
    /// Encodes whole rows of `columnCount` elements.
    package static func encode(_ source: Span<Float>, columnCount: Int, into target: inout MutableRawSpan) {
        precondition(columnCount % type.blockSize == 0, "a row is whole blocks")
        if hasKernels {
            encodeKernel(source, into: &target)
        } else if let weighted = Self.self as? any WeightedBlockEncoder.Type, weighted.hasWeightedKernel {
            // The types with a codebook have one loop for both cases.
            weighted.encodeKernel(source, columnCount: columnCount, importance: nil, into: &target)
        } else {
            encodeScalar(source, into: &target)
        }
    }

    /// Encodes whole blocks, one at a time.
    package static func encodeScalar(_ source: Span<Float>, into target: inout MutableRawSpan) {
        let count = blockCount(elements: source.count, bytes: target.byteCount)
        let size = type.typeSize
        var elements = [Float](repeating: 0, count: type.blockSize)
        var block = [UInt8](repeating: 0, count: size)
        for index in 0..<count {
            for i in elements.indices {
                // Which of two NaN an operation keeps is up to the compiler, so let there be only one.
                let element = source[index * elements.count + i]
                elements[i] = element.isNaN ? .nan : element
            }
            for byte in block.indices { block[byte] = 0 }
            var bytes = block.mutableSpan
            encodeBlock(elements.span, into: &bytes)
            for byte in block.indices {
                target.storeBytes(of: block[byte], toByteOffset: index * size + byte, as: UInt8.self)
            }
        }
    }
}

/// The type's own implementation, or `nil` when nothing here decodes it.
///
/// Q8_1 and Q8_K hold activations while a model runs; no file has them and the reference does not decode them.
package func blockCodec(_ type: GGMLType) -> (any BlockCodec.Type)? {
    switch type {
    case .q4_0: Q4_0.self
    case .q4_1: Q4_1.self
    case .q5_0: Q5_0.self
    case .q5_1: Q5_1.self
    case .q8_0: Q8_0.self
    case .q2_K: Q2K.self
    case .q3_K: Q3K.self
    case .q4_K: Q4K.self
    case .q5_K: Q5K.self
    case .q6_K: Q6K.self
    case .iq1_s: IQ1_S.self
    case .iq1_m: IQ1_M.self
    case .iq2_xxs: IQ2_XXS.self
    case .iq2_xs: IQ2_XS.self
    case .iq2_s: IQ2_S.self
    case .iq3_xxs: IQ3_XXS.self
    case .iq3_s: IQ3_S.self
    case .iq4_nl: IQ4NL.self
    case .iq4_xs: IQ4XS.self
    case .tq1_0: TQ1_0.self
    case .tq2_0: TQ2_0.self
    case .mxfp4: MXFP4.self
    case .nvfp4: NVFP4.self
    case .q1_0: Q1_0.self
    case .q2_0: Q2_0.self
    case .f32, .f16, .bf16, .f64, .i8, .i16, .i32, .i64, .q8_1, .q8_K: nil
    }
}

/// The type's encoder without an importance matrix, or `nil` when nothing here encodes it.
package func blockEncoder(_ type: GGMLType) -> (any BlockEncoder.Type)? { blockCodec(type) as? any BlockEncoder.Type }

/// The type's encoder with an importance matrix, or `nil` when it makes no use of one.
package func weightedBlockEncoder(_ type: GGMLType) -> (any WeightedBlockEncoder.Type)? {
    blockCodec(type) as? any WeightedBlockEncoder.Type
}
