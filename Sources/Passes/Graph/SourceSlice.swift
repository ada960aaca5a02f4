import Formats

/// A tensor as it stands in an opened file.
public struct SourceSlice: TensorOperation {
    public let source: any TensorSource
    /// The tensor's place in the source's manifest.
    public let index: Int

    public init(source: any TensorSource, index: Int) {
        self.source = source
        self.index = index
    }

    public var summary: String { "read" }
    public var inputs: [LazyTensor] { [] }

    public func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        guard let rowByteCount = info.rowByteCount else { return try source.bytes(ofTensorAt: index) }
        return try source.bytes(
            ofTensorAt: index, in: range.lowerBound * rowByteCount..<range.upperBound * rowByteCount)
    }
}

/// A tensor whose bytes are already in memory: small tables that a conversion adds.
struct Constant: TensorOperation {
    let bytes: TensorBytes
    let summary: String

    var inputs: [LazyTensor] { [] }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        guard let rowByteCount = info.rowByteCount else { return bytes }
        return bytes[range.lowerBound * rowByteCount..<range.upperBound * rowByteCount]
    }
}
