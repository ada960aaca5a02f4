import Formats

/// A tensor that is promised now and computed later, a run of rows at a time.
///
/// `info` is the promise: name, encoding and shape are known before any data is read. `rows(_:)` keeps it. A row is
/// the last dimension of the shape; all other dimensions are flattened, outermost first.
public struct LazyTensor: Sendable {
    public let info: TensorInfo
    /// What computes the rows.
    public let operation: any TensorOperation
    /// The passes and rules that shaped this tensor, first to last, one phrase each.
    public var history: [String]

    public init(info: TensorInfo, operation: any TensorOperation, history: [String] = []) {
        self.info = info
        self.operation = operation
        self.history = history
    }

    /// The encoded bytes of some rows.
    ///
    /// Pure: equal ranges give equal bytes, from any thread and in any order.
    /// - Throws: whatever the operation throws, or `PipelineError.brokenPromise` when it returns the wrong byte count.
    public func rows(_ range: Range<Int>) throws -> TensorBytes {
        let bytes = try operation.rows(range, of: info)
        let expected = byteCount(ofRows: range)
        guard bytes.count == expected else {
            throw PipelineError.brokenPromise(
                tensor: info.name, operation: operation.summary, promised: expected, delivered: bytes.count)
        }
        return bytes
    }

    /// Bytes of a run of rows. Tensors whose rows are not whole bytes can only be asked for all of them.
    public func byteCount(ofRows range: Range<Int>) -> Int {
        if let rowByteCount = info.rowByteCount { return range.count * rowByteCount }
        precondition(range == 0..<info.rowCount, "a tensor of \(info.encoding.name) is read whole")
        return info.byteCount
    }

    /// The weights of the model that the tensor stands for.
    var weightCount: Int {
        switch operation {
        case let stored as SameBytes: stored.input.info.elementCount
        case is RotationMatrix: 0
        case let factor as RoundedRows where factor.input == nil: 0
        case let changed where changed.inputs.count == 1: changed.inputs[0].weightCount == 0 ? 0 : info.elementCount
        default: info.elementCount
        }
    }

    /// The same tensor under another name.
    public func renamed(_ name: String) -> LazyTensor {
        LazyTensor(info: info.renamed(name), operation: operation, history: history)
    }

    /// The same tensor with one more line in its history.
    public func noting(_ line: String) -> LazyTensor {
        var copy = self
        copy.history.append(line)
        return copy
    }
}

/// A computation of a tensor's rows from the rows of other tensors.
public protocol TensorOperation: Sendable {
    /// One phrase for `plan` and `explain`, e.g. `encode as Q4_K`. Two operations with equal inputs and equal
    /// summaries compute the same bytes: a resumed run relies on it.
    var summary: String { get }
    /// The tensors this reads.
    var inputs: [LazyTensor] { get }
    /// Multiplications and additions in `Double` that an element takes, where they are many.
    var rotationWorkPerElement: Int { get }
    /// The bytes of some rows of the tensor promised as `info`.
    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes
}

extension TensorOperation {
    public var rotationWorkPerElement: Int { 0 }
}
