import Formats
import Threads

/// Where the engine takes a model's tensors from, under their Hugging Face names.
public protocol WeightSource: Sendable {
    /// What is known of a tensor; `nil` when there is none of that name.
    func info(of name: String) -> TensorInfo?
    /// The stored bytes of some rows.
    func bytes(of name: String, rows: Range<Int>) throws -> TensorBytes
}

/// A tensor's numbers as `Float`, decoded or straight from a mapped file.
public struct Weight: Sendable {
    public let name: String
    public let rowCount: Int
    public let columnCount: Int
    /// Floats, aligned; `rowCount · columnCount` of them.
    private let bytes: TensorBytes
    /// Whether the numbers are in memory of their own.
    let isDecoded: Bool

    /// Numbers made by the caller.
    public init(name: String, rowCount: Int, columnCount: Int, floats: Span<Float>) {
        precondition(floats.count == rowCount * columnCount, "a weight holds its rows")
        self.name = name
        self.rowCount = rowCount
        self.columnCount = columnCount
        isDecoded = true
        let storage = ArrayStorage(byteCount: floats.count * 4) { target in
            for index in 0..<floats.count { target.storeBytes(of: floats[index], toByteOffset: 4 * index, as: Float.self) }
        }
        bytes = TensorBytes(storage)
    }

    /// Reads some rows of a tensor (all when `nil`), decoding in parallel; a vector is one row.
    /// - Throws: `ModelError` when there is no such tensor; errors of reading and decoding, naming it;
    ///   `ForwardError.notFinite` for NaN and infinities.
    init(_ name: String, of source: any WeightSource, rows: Range<Int>? = nil, threadCount: Int) throws {
        guard let info = source.info(of: name) else { throw ModelError(.missingTensors(names: [name], count: 1)) }
        let rows = rows ?? 0..<info.rowCount
        self.name = name
        rowCount = rows.count
        columnCount = info.columnCount
        let columnCount = info.columnCount
        if info.encoding == .plain(.f32) {
            let stored = try source.bytes(of: name, rows: rows)
            if stored.isAligned(to: 4) {
                bytes = stored
                isDecoded = false
                return
            }
        }
        isDecoded = true
        let rowsAtOnce = max(1, (1 << 16) / max(1, columnCount))
        let storage = try ArrayStorage(byteCount: rows.count * columnCount * 4) { (target) throws in
            try unsafe target.withUnsafeMutableBytes { target in
                // Runs of rows are disjoint parts of the memory, which is aligned and as long as all rows together.
                guard let start = unsafe target.bindMemory(to: Float.self).baseAddress else { return }
                let floats = unsafe SharedMutable(start)
                try inParallel(count: (rows.count + rowsAtOnce - 1) / rowsAtOnce, threadCount: threadCount) { run in
                    let part = run * rowsAtOnce..<min(rows.count, (run + 1) * rowsAtOnce)
                    let stored = try source.bytes(of: name, rows: rows.lowerBound + part.lowerBound..<rows.lowerBound + part.upperBound)
                    var span = unsafe floats.span(part.lowerBound * columnCount..<part.upperBound * columnCount)
                    do throws(FormatError) {
                        try Codec.decode(info.encoding, stored.bytes, into: &span)
                    } catch {
                        throw FormatError(error.reason, path: error.path, tensor: name, byteOffset: error.byteOffset)
                    }
                    if let bad = Codec.firstNonFinite(span.span) {
                        throw ForwardError.notFiniteWeight(
                            tensor: name, index: (rows.lowerBound + part.lowerBound) * columnCount + bad)
                    }
                }
            }
        }
        bytes = TensorBytes(storage)
    }

    /// The numbers, row after row.
    public var floats: Span<Float> {
        @_lifetime(borrow self)
        get {
            // The bytes are whole, aligned floats.
            let span = Span<Float>(_bytes: bytes.bytes)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// The numbers as an array.
    public var array: [Float] {
        let span = floats
        return unsafe [Float](unsafeUninitializedCapacity: span.count) { buffer, count in
            for index in 0..<span.count { unsafe buffer[index] = span[index] }
            count = span.count
        }
    }
}
