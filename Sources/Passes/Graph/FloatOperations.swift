import Formats

/// An operation whose output row `i` depends on row `i` of one input alone, so that rows can be reordered before it.
protocol RowwiseOperation: TensorOperation {
    var input: LazyTensor { get set }
    /// What rounding to block types minds, if anything.
    var importance: TensorImportance? { get }
    /// Changes decoded rows in place. `rows` are their numbers, `values` holds `[rows, columns]`.
    func change(_ rows: Range<Int>, _ values: inout MutableSpan<Float>) throws
}

extension RowwiseOperation {
    var inputs: [LazyTensor] { [input] }
    var importance: TensorImportance? { nil }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        try encodedRows(range, of: info, from: input, importance: importance) { rows, values throws in
            try decodeRows(rows, of: input, into: &values)
            try change(rows, &values)
        }
    }
}

/// Elements read as `Float` and stored in another encoding, rounding as that encoding's reference does.
struct Reencode: RowwiseOperation {
    var input: LazyTensor
    var importance: TensorImportance?
    /// Whether split parts get zero points, which the encoding's name does not say.
    var hasZeroPoints = false

    var summary: String {
        "encode" + (hasZeroPoints ? " with zero points" : "") + (importance.map { " with importance \($0.digest)" } ?? "")
    }

    func change(_ rows: Range<Int>, _ values: inout MutableSpan<Float>) {}
}

/// A constant added to every element; GGUF stores Gemma's norm weights plus one.
///
///     out = in + constant        in Float
struct AddConstant: RowwiseOperation {
    var input: LazyTensor
    let constant: Float

    var summary: String { "add \(constant)" }

    func change(_ rows: Range<Int>, _ values: inout MutableSpan<Float>) {
        for index in 0..<values.count { values[index] += constant }
    }
}

/// Rows changed by somebody else's function.
private struct ChangedRows: RowwiseOperation {
    var input: LazyTensor
    let summary: String
    let function: @Sendable (Range<Int>, inout MutableSpan<Float>) throws -> Void

    func change(_ rows: Range<Int>, _ values: inout MutableSpan<Float>) throws { try function(rows, &values) }
}

extension LazyTensor {
    /// The tensor with its rows changed.
    /// - Parameters:
    ///   - summary: one phrase that says everything that decides what `change` computes: equal phrases mean equal bytes.
    ///   - encoding: what the result is stored as.
    ///   - change: changes some rows, `[rows, columns]`, in place; each must depend on itself alone. Called from several threads.
    public func changed(
        _ summary: String, to encoding: Encoding, by change: @escaping @Sendable (_ rows: Range<Int>, _ values: inout MutableSpan<Float>) throws -> Void
    ) throws -> LazyTensor {
        guard Codec.canDecode(info.encoding) else {
            throw FormatError(.unsupported(what: "decoding \(info.encoding.name)"), tensor: info.name)
        }
        guard Codec.canEncode(encoding) else { throw FormatError(.unsupported(what: "encoding \(encoding.name)"), tensor: info.name) }
        let target = try TensorInfo(name: info.name, encoding: encoding, shape: info.shape)
        return LazyTensor(info: target, operation: ChangedRows(input: self, summary: summary, function: change), history: history)
    }

    /// The tensor in another encoding. Re-encoding into its own encoding is the tensor itself.
    public func encoded(as encoding: Encoding) throws -> LazyTensor { try encoded(as: encoding, importance: nil) }

    /// The tensor in another encoding, rounded with an eye to the importance of its columns.
    func encoded(as encoding: Encoding, importance: TensorImportance?) throws -> LazyTensor {
        guard encoding != info.encoding else { return self }
        guard Codec.canDecode(info.encoding) else {
            throw FormatError(.unsupported(what: "decoding \(info.encoding.name)"), tensor: info.name)
        }
        guard Codec.canEncode(encoding, hasImportance: importance != nil) else {
            throw FormatError(.unsupported(what: "encoding \(encoding.name)"), tensor: info.name)
        }
        let target = try TensorInfo(name: info.name, encoding: encoding, shape: info.shape)
        var operation = Reencode(input: self, importance: importance)
        if case .split(let layout) = encoding { operation.hasZeroPoints = layout.parts.contains { !$0.isSymmetric } }
        return LazyTensor(info: target, operation: operation, history: history)
    }

    /// A constant added to every element, stored as F32; adding its negative gives back the tensor that was added to.
    public func adding(_ constant: Float) throws -> LazyTensor {
        if let earlier = operation as? AddConstant, earlier.constant == -constant {
            var original = earlier.input.renamed(info.name)
            original.history = history
            return original
        }
        let target = try TensorInfo(name: info.name, encoding: .plain(.f32), shape: info.shape)
        return LazyTensor(info: target, operation: AddConstant(input: self, constant: constant), history: history)
    }
}

/// Elements that fit the second-level cache as `Float`, so that a run of rows is decoded and encoded while it is there.
let scratchElementCount = 1 << 16

/// Computes rows as `Float`, a cache-sized run at a time, and stores them in `info`'s encoding.
/// - Parameters:
///   - source: what they are computed from, for messages.
///   - compute: fills the floats of the given rows.
func encodedRows(
    _ range: Range<Int>, of info: TensorInfo, from source: LazyTensor? = nil, importance: TensorImportance? = nil,
    compute: (Range<Int>, inout MutableSpan<Float>) throws -> Void
) throws -> TensorBytes {
    guard let rowByteCount = info.rowByteCount else {
        throw FormatError(.unsupported(what: "encoding \(info.encoding.name)"), tensor: info.name)
    }
    let columnCount = info.columnCount
    let rowsAtOnce = max(1, scratchElementCount / max(1, columnCount))
    var floats = [Float](repeating: 0, count: min(rowsAtOnce, range.count) * columnCount)
    let storage = try ArrayStorage(byteCount: range.count * rowByteCount) { (target) throws in
        var row = range.lowerBound
        while row < range.upperBound {
            var rows = row..<min(range.upperBound, row + rowsAtOnce)
            if let importance { rows = importance.matrixRows(rows) }
            let elementCount = rows.count * columnCount
            var all = floats.mutableSpan
            var part = all.part(0..<elementCount)
            try compute(rows, &part)
            if let bad = Codec.firstNonFinite(part.span) {
                throw PipelineError.notFinite(
                    tensor: info.name, index: rows.lowerBound * columnCount + bad, through: source?.madeByPlugin)
            }
            if info.encoding.isLimitedToF16, let bad = firstOverflowingF16(part.span) {
                throw PipelineError.overflows(
                    tensor: info.name, index: rows.lowerBound * columnCount + bad, type: info.encoding.name)
            }
            let bytes = (rows.lowerBound - range.lowerBound) * rowByteCount..<(rows.upperBound - range.lowerBound) * rowByteCount
            var slot = target.part(bytes)
            if let importance {
                let weights = importance.columns.span.extracting(importance.columns(ofRow: row))
                try Codec.encode(part.span, as: info.encoding, columnCount: columnCount, importance: weights, into: &slot)
            } else {
                try Codec.encode(part.span, as: info.encoding, columnCount: columnCount, importance: nil, into: &slot)
            }
            row = rows.upperBound
        }
    }
    return TensorBytes(storage)
}

/// The first value that would round to infinity in F16: from halfway between the largest number and the next step.
private func firstOverflowingF16(_ values: Span<Float>) -> Int? {
    let limit: Float = 65520
    // Runs without a branch inside, so that they vectorize: the sum has its highest bit set from the limit on.
    let step = 0x8000_0000 - limit.bitPattern
    let run = 1024
    for start in stride(from: 0, to: values.count, by: run) {
        let part = values.extracting(start..<min(start + run, values.count))
        var carries: UInt32 = 0
        for index in part.indices { carries |= (part[index].bitPattern & 0x7fff_ffff) &+ step }
        guard carries >> 31 == 1 else { continue }
        for index in part.indices where abs(part[index]) >= limit { return start + index }
    }
    return nil
}

extension LazyTensor {
    /// Rows that hold finite numbers only, scales of blocks included: a finite weight can be too large for its scale.
    func soundRows(_ range: Range<Int>) throws -> TensorBytes {
        let bytes = try rows(range)
        if let block = Codec.firstInvalidBlock(info.encoding, bytes.bytes) {
            throw PipelineError.notFinite(
                tensor: info.name, index: range.lowerBound * info.columnCount + block * info.encoding.blockSize, through: madeByPlugin)
        }
        return bytes
    }
}

/// Decodes bytes of a tensor.
/// - Throws: `FormatError` naming the tensor.
func decode(_ bytes: TensorBytes, of info: TensorInfo, into target: inout MutableSpan<Float>) throws(FormatError) {
    do throws(FormatError) {
        try Codec.decode(info.encoding, bytes.bytes, into: &target)
    } catch {
        throw FormatError(error.reason, path: error.path, tensor: info.name, byteOffset: error.byteOffset)
    }
}

/// Decodes some rows of a tensor.
func decodeRows(_ rows: Range<Int>, of tensor: LazyTensor, into target: inout MutableSpan<Float>) throws {
    try decode(try tensor.rows(rows), of: tensor.info, into: &target)
}

/// Some rows of a tensor as floats.
func decodedRows(_ rows: Range<Int>, of tensor: LazyTensor) throws -> [Float] {
    try decoded(try tensor.rows(rows), rows, of: tensor.info)
}

/// The floats that the bytes of some rows hold.
func decoded(_ bytes: TensorBytes, _ rows: Range<Int>, of info: TensorInfo) throws(FormatError) -> [Float] {
    var values = [Float](repeating: 0, count: rows.count * info.columnCount)
    var span = values.mutableSpan
    try decode(bytes, of: info, into: &span)
    return values
}

/// A whole small tensor as floats: norm weights, scales, LoRA factors.
func floats(of tensor: LazyTensor) throws -> [Float] {
    guard tensor.info.elementCount > 0 else { return [] }
    return try decodedRows(0..<tensor.info.rowCount, of: tensor)
}

extension Encoding {
    /// Whether numbers past the largest F16 cannot be kept: of split types that is the largest scale.
    fileprivate var isLimitedToF16: Bool { if case .split = self { true } else { self == .plain(.f16) } }
}
