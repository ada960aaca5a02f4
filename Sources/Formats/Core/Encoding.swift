/// How the elements of a tensor are stored.
///
/// ggml's one-element types (F32, F16, BF16, F64, I8 to I64) are always `.plain`, whichever container they came from,
/// so that equal bytes have equal encodings.
public enum Encoding: Sendable, Hashable {
    case plain(DType)
    case block(GGMLType)
    /// Integers with a scale per row and part: what ResQ's weights are.
    case split(SplitLayout)
    /// A type of somebody else's, such as a plugin.
    case custom(CustomType)

    /// The encoding of a ggml type, with one-element types mapped to `.plain`.
    public init(_ type: GGMLType) {
        self = type.dtype.map(Encoding.plain) ?? .block(type)
    }

    /// The ggml type that stores this encoding, or `nil` when GGUF has none (F8, unsigned integers, BOOL, C64).
    public var ggmlType: GGMLType? {
        switch self {
        case .block(let type): type
        case .split, .custom: nil
        case .plain(let dtype): GGMLType.allCases.first { $0.dtype == dtype }
        }
    }

    /// The name people know: `BF16`, `Q4_K`.
    public var name: String {
        switch self {
        case .plain(let dtype): dtype.rawValue
        case .block(let type): type.name
        case .split(let layout): layout.name
        case .custom(let type): type.name
        }
    }

    /// Finds an encoding by name, ignoring case: a dtype of safetensors or a type of ggml.
    public init?(name: String) {
        if let dtype = DType(rawValue: name.uppercased()) {
            self = .plain(dtype)
        } else if let type = GGMLType(name: name) {
            self = Encoding(type)
        } else {
            return nil
        }
    }

    /// Elements that are stored together; a row must hold a whole number of them.
    public var blockSize: Int {
        switch self {
        case .plain(let dtype): dtype.bitWidth < 8 ? 8 / gcd(8, dtype.bitWidth) : 1
        case .block(let type): type.blockSize
        case .split(let layout): layout.columnCount
        case .custom(let type): type.blockSize
        }
    }

    /// Bits of `elementCount` elements; `nil` on overflow or when they do not fill whole blocks.
    func bitCount(elementCount: Int) -> Int? {
        switch self {
        case .plain(let dtype):
            let (bits, overflow) = elementCount.multipliedReportingOverflow(by: dtype.bitWidth)
            return overflow ? nil : bits
        case .block(let type): return blockBitCount(elementCount, type.blockSize, type.typeSize)
        case .custom(let type): return blockBitCount(elementCount, type.blockSize, type.typeSize)
        case .split(let layout):
            guard elementCount % layout.columnCount == 0 else { return nil }
            let (bits, overflow) = (elementCount / layout.columnCount).multipliedReportingOverflow(by: layout.rowByteCount * 8)
            return overflow ? nil : bits
        }
    }
}

private func blockBitCount(_ elementCount: Int, _ blockSize: Int, _ typeSize: Int) -> Int? {
    guard elementCount % blockSize == 0 else { return nil }
    let (bits, overflow) = (elementCount / blockSize).multipliedReportingOverflow(by: typeSize * 8)
    return overflow ? nil : bits
}

private func gcd(_ a: Int, _ b: Int) -> Int { b == 0 ? a : gcd(b, a % b) }
