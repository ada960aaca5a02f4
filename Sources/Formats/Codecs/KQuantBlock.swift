/// A block type whose encoder searches for scales: the K types and the two non-linear 4-bit types.
///
/// Each exists twice. `decodeBlock` and `encodeBlock` are the definition, one block at a time, written to be read.
/// `decodeKernel` and `encodeKernel` are C loops that work on sixteen blocks side by side, keep the order of operations
/// inside each block, and so give the same bits; tests hold the two against each other.
package protocol KQuantBlock: SendableMetatype {
    static var type: GGMLType { get }
    /// Decodes one block of `type.typeSize` bytes into `type.blockSize` elements.
    static func decodeBlock(_ block: Span<UInt8>, into target: inout MutableSpan<Float>)
    /// Encodes `type.blockSize` elements; `block` has `type.typeSize` bytes, all zero.
    static func encodeBlock(_ source: Span<Float>, into block: inout MutableSpan<UInt8>)
}

extension KQuantBlock {
    /// Decodes whole blocks.
    package static func decode(_ source: RawSpan, into target: inout MutableSpan<Float>) {
        decodeKernel(source, into: &target)
    }

    /// Encodes whole rows of `columnCount` elements.
    /// - Throws: `.unsupported` for an importance matrix.
    package static func encode(
        _ source: Span<Float>, columnCount: Int, importance: Span<Float>?, into target: inout MutableRawSpan
    ) throws(FormatError) {
        precondition(columnCount % type.blockSize == 0, "a row is whole blocks")
        guard importance == nil else {
            throw FormatError(.unsupported(what: "encoding \(type.name) with an importance matrix"))
        }
        encodeKernel(source, into: &target)
    }

    /// Decodes whole blocks, one at a time.
    package static func decodeScalar(_ source: RawSpan, into target: inout MutableSpan<Float>) {
        let count = blockCount(elements: target.count, bytes: source.byteCount)
        var block = [UInt8](repeating: 0, count: type.typeSize)
        var elements = [Float](repeating: 0, count: type.blockSize)
        for index in 0..<count {
            for byte in block.indices {
                block[byte] = source.littleEndian(UInt8.self, at: index * type.typeSize + byte)
            }
            var span = elements.mutableSpan
            decodeBlock(block.span, into: &span)
            for i in elements.indices { target[index * type.blockSize + i] = elements[i] }
        }
    }

    /// Encodes whole blocks, one at a time.
    package static func encodeScalar(_ source: Span<Float>, into target: inout MutableRawSpan) {
        let count = blockCount(elements: source.count, bytes: target.byteCount)
        var elements = [Float](repeating: 0, count: type.blockSize)
        for index in 0..<count {
            for i in elements.indices {
                // Which of two NaN an operation keeps is up to the compiler, so let there be only one.
                let element = source[index * type.blockSize + i]
                elements[i] = element.isNaN ? .nan : element
            }
            var block = [UInt8](repeating: 0, count: type.typeSize)
            var bytes = block.mutableSpan
            encodeBlock(elements.span, into: &bytes)
            for byte in block.indices {
                target.storeBytes(of: block[byte], toByteOffset: index * type.typeSize + byte, as: UInt8.self)
            }
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

/// The type's own implementation, or `nil` when it is not one of these.
package func kQuantBlock(_ type: GGMLType) -> (any KQuantBlock.Type)? {
    switch type {
    case .q2_K: Q2K.self
    case .q3_K: Q3K.self
    case .q4_K: Q4K.self
    case .q5_K: Q5K.self
    case .q6_K: Q6K.self
    case .iq4_nl: IQ4NL.self
    case .iq4_xs: IQ4XS.self
    default: nil
    }
}
