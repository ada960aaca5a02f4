/// How the rows of a split tensor are stored: the columns cut into parts of different precision.
///
/// The columns are groups of equal width, one after another (the heads an output projection reads, or the whole row), and
/// every group is cut into the same parts, in order. A part's columns, over all groups of the row, share one scale and one
/// zero point; or every `scaleWidth` of them do, of which the last may be fewer.
///
///     w = scale · (code - zero)         code in 0 ..< 2^bits
///
/// A row is its parts, one after another, and a part its runs of columns with one scale: the scale (F16), the zero point (one
/// byte), then the codes of the columns as they stand in the row, packed without gaps from the lowest bit of the first byte on;
/// the last byte is filled with zero bits.
public struct SplitLayout: Sendable, Hashable {
    public struct Part: Sendable, Hashable {
        /// Columns of one group.
        public let width: Int
        /// Bits of a code, 2 to 8.
        public let bits: Int
        /// Whether the zero point is always 2^(bits - 1) when weights are rounded. Bytes mean the same either way, and parts that
        /// differ in nothing else are equal.
        public let isSymmetric: Bool

        public init(width: Int, bits: Int, isSymmetric: Bool = true) {
            self.width = width
            self.bits = bits
            self.isSymmetric = isSymmetric
        }

        /// Bytes of so many columns with one scale.
        func byteCount(columns: Int) -> Int { columns > 0 ? 3 + (columns * bits + 7) / 8 : 0 }

        public static func == (a: Part, b: Part) -> Bool { a.width == b.width && a.bits == b.bits }

        public func hash(into hasher: inout Hasher) {
            hasher.combine(width)
            hasher.combine(bits)
        }
    }

    public let parts: [Part]
    public let groupCount: Int
    /// Columns of a part that share a scale; all of them when `nil`.
    public let scaleWidth: Int?
    /// Columns of one group.
    public let groupWidth: Int
    /// Columns of a row.
    public let columnCount: Int
    /// Bytes of a row.
    public let rowByteCount: Int

    /// - Throws: `FormatError` for widths or bits out of range, and for rows beyond what can be counted.
    public init(parts: [Part], groupCount: Int = 1, scaleWidth: Int? = nil) throws(FormatError) {
        func invalid(_ found: String, _ expected: String) -> FormatError {
            FormatError(.invalid(field: "split tensor", found: found, expected: expected))
        }
        guard !parts.isEmpty, parts.count <= 3 else { throw invalid("\(parts.count) parts", "1 to 3") }
        // Far above any row, and low enough that products stay in range.
        let limit = 1 << 32
        guard (1...limit).contains(groupCount) else { throw invalid("\(groupCount) groups", "1 to \(limit)") }
        if let scaleWidth, !(1...limit).contains(scaleWidth) { throw invalid("scales of \(scaleWidth) columns", "1 to \(limit)") }
        for part in parts {
            guard (1...limit / groupCount).contains(part.width) else { throw invalid("a part of \(part.width) columns", "at least 1, of at most \(limit) in all") }
            guard (2...8).contains(part.bits) else { throw invalid("\(part.bits) bits", "2 to 8") }
        }
        self.parts = parts
        self.groupCount = groupCount
        self.scaleWidth = scaleWidth
        groupWidth = parts.reduce(0) { $0 + $1.width }
        columnCount = groupWidth * groupCount
        rowByteCount = parts.reduce(0) { sum, part in
            let count = part.width * groupCount
            let run = min(scaleWidth ?? count, count)
            return sum + count / run * part.byteCount(columns: run) + part.byteCount(columns: count % run)
        }
    }

    /// The runs of a part's columns that have one scale, by place among the part's columns.
    package func runs(ofPart index: Int) -> [Range<Int>] {
        let count = parts[index].width * groupCount
        return stride(from: 0, to: count, by: scaleWidth ?? count).map { $0..<min($0 + (scaleWidth ?? count), count) }
    }

    /// The columns of a part, in the order of its codes.
    public func columns(ofPart index: Int) -> [Int] {
        let start = parts[..<index].reduce(0) { $0 + $1.width }
        return (0..<groupCount).flatMap { group in (0..<parts[index].width).map { group * groupWidth + start + $0 } }
    }

    /// `int4`, or with parts `int4 x 504 + int8 x 72`; with scales of their own for 64 columns `int4 / 64`.
    public var name: String {
        let scales = scaleWidth.map { " / \($0)" } ?? ""
        guard parts.count > 1 else { return "int\(parts[0].bits)" + scales }
        return parts.map { "int\($0.bits) x \($0.width * groupCount)" }.joined(separator: " + ") + scales
    }
}
