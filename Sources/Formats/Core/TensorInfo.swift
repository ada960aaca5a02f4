/// What is known of a tensor without its bytes.
///
/// `shape` is outermost first in every container (GGUF stores it reversed; that is undone at its boundary).
/// An empty shape is a scalar with one element; a zero dimension makes an empty tensor.
public struct TensorInfo: Sendable, Hashable {
    public let name: String
    public let encoding: Encoding
    public let shape: [Int]
    /// Bytes of the whole tensor, without padding.
    public let byteCount: Int

    /// Checks the shape and computes the byte count.
    /// - Throws: `FormatError` with `.invalidShape` for a negative dimension, a product or byte count past `Int.max`
    ///   (also when another dimension is zero), or rows that do not hold whole blocks.
    public init(name: String, encoding: Encoding, shape: [Int]) throws(FormatError) {
        func invalid(_ why: String) -> FormatError {
            FormatError(.invalidShape(shape: shape, encoding: encoding.name, why: why), tensor: name)
        }
        var nonZeroProduct = 1
        var isEmpty = false
        for dimension in shape {
            guard dimension >= 0 else { throw invalid("a dimension is negative") }
            if dimension == 0 { isEmpty = true; continue }
            let (product, overflow) = nonZeroProduct.multipliedReportingOverflow(by: dimension)
            guard !overflow else { throw invalid("the element count overflows") }
            nonZeroProduct = product
        }
        if case .block(let type) = encoding, (shape.last ?? 1) % type.blockSize != 0 {
            throw invalid("a row of \(shape.last ?? 1) is not a whole number of blocks of \(type.blockSize)")
        }
        if case .custom(let type) = encoding, (shape.last ?? 1) % type.blockSize != 0 {
            throw invalid("a row of \(shape.last ?? 1) is not a whole number of blocks of \(type.blockSize)")
        }
        if case .split(let layout) = encoding, shape.last != layout.columnCount {
            throw invalid("a row of \(shape.last ?? 1) is not one of \(layout.columnCount)")
        }
        // The dimensions beside a zero need not fill blocks; what is left still must not overflow.
        let blockSize = encoding.blockSize
        let elementCount = isEmpty ? nonZeroProduct / blockSize * blockSize : nonZeroProduct
        guard let bits = encoding.bitCount(elementCount: elementCount) else { throw invalid("the byte count overflows") }
        guard bits % 8 == 0 else { throw invalid("the elements do not fill whole bytes") }
        self.name = name
        self.encoding = encoding
        self.shape = shape
        self.byteCount = isEmpty ? 0 : bits / 8
    }

    /// Elements of the whole tensor.
    public var elementCount: Int { shape.contains(0) ? 0 : shape.reduce(1, *) }
    /// Elements of one row: the last dimension, 1 for a scalar.
    public var columnCount: Int { shape.last ?? 1 }
    /// Rows: the product of all dimensions but the last, 1 for a vector or a scalar.
    public var rowCount: Int { shape.contains(0) ? 0 : shape.dropLast().reduce(1, *) }
    /// Bytes of one row. Rows of sub-byte types need not be whole bytes; then this is `nil`.
    public var rowByteCount: Int? {
        guard let bits = encoding.bitCount(elementCount: columnCount), bits % 8 == 0 else { return nil }
        return bits / 8
    }

    /// The same tensor under another name.
    public func renamed(_ name: String) -> TensorInfo {
        TensorInfo(checkedName: name, encoding: encoding, shape: shape, byteCount: byteCount)
    }

    private init(checkedName: String, encoding: Encoding, shape: [Int], byteCount: Int) {
        self.name = checkedName
        self.encoding = encoding
        self.shape = shape
        self.byteCount = byteCount
    }
}
