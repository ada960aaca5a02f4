/// A block type that neither ggml nor safetensors has: so many elements in so many bytes, and somebody who encodes and decodes them.
///
/// Two are the same when name and sizes are.
public struct CustomType: Sendable, Hashable {
    public let name: String
    /// Elements of a block; a row holds a whole number of blocks.
    public let blockSize: Int
    /// Bytes of a block.
    public let typeSize: Int
    public let codec: any CustomCodec

    /// - Precondition: both sizes are above zero.
    public init(name: String, blockSize: Int, typeSize: Int, codec: any CustomCodec) {
        precondition(blockSize > 0 && typeSize > 0, "a block holds something")
        (self.name, self.blockSize, self.typeSize, self.codec) = (name, blockSize, typeSize, codec)
    }

    public static func == (a: CustomType, b: CustomType) -> Bool {
        a.name == b.name && a.blockSize == b.blockSize && a.typeSize == b.typeSize
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(name)
        hasher.combine(blockSize)
        hasher.combine(typeSize)
    }
}

/// Turns blocks of a custom type into numbers and back. Called from several threads.
public protocol CustomCodec: Sendable {
    /// - Parameters:
    ///   - source: whole blocks.
    ///   - target: one number for each element.
    func decode(_ source: RawSpan, into target: inout MutableSpan<Float>) throws(FormatError)
    /// - Parameters:
    ///   - source: whole rows; finite numbers.
    ///   - target: exactly the bytes of these rows.
    func encode(_ source: Span<Float>, columnCount: Int, into target: inout MutableRawSpan) throws(FormatError)
}
