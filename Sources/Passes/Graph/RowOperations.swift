import Formats

/// The same rows in another order, block encodings included: a row is never taken apart.
///
///     out[i] = in[order(i)]
struct RowPermutation: TensorOperation {
    let input: LazyTensor
    let order: RowOrder

    var summary: String { order.summary }
    var inputs: [LazyTensor] { [input] }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        guard let rowByteCount = info.rowByteCount else {
            throw FormatError(.unsupported(what: "reordering rows of \(info.encoding.name)"), tensor: info.name)
        }
        guard info.shape.count > 1 else { return try reorderedVector(info, elementByteCount: rowByteCount / info.columnCount) }
        // One head at a time, so that a head's rows are asked of the input once and in order.
        let storage = try ArrayStorage(byteCount: range.count * rowByteCount) { (target) throws in
            var row = range.lowerBound
            while row < range.upperBound {
                let head = row / order.rowsPerHead
                let headRows = head * order.rowsPerHead..<(head + 1) * order.rowsPerHead
                let source = try input.rows(headRows)
                let bytes = source.bytes
                while row < min(headRows.upperBound, range.upperBound) {
                    let from = (order.source(of: row) - headRows.lowerBound) * rowByteCount
                    copy(bytes.extracting(from..<from + rowByteCount), into: &target, at: (row - range.lowerBound) * rowByteCount)
                    row += 1
                }
            }
        }
        return TensorBytes(storage)
    }
}

extension RowPermutation {
    /// A vector (a bias) is a column: its elements are the rows.
    private func reorderedVector(_ info: TensorInfo, elementByteCount: Int) throws -> TensorBytes {
        guard case .plain = info.encoding else {
            throw FormatError(.unsupported(what: "reordering a vector of \(info.encoding.name)"), tensor: info.name)
        }
        let source = try input.rows(0..<1)
        let bytes = source.bytes
        let storage = ArrayStorage(byteCount: bytes.byteCount) { target in
            for element in 0..<info.elementCount {
                let from = order.source(of: element) * elementByteCount
                copy(bytes.extracting(from..<from + elementByteCount), into: &target, at: element * elementByteCount)
            }
        }
        return TensorBytes(storage)
    }
}

/// The order in which GGUF's llama architectures keep the rows of q and k, and its inverse.
///
/// A Hugging Face head of `h` rows holds the first halves of the rotated pairs, then the second halves; GGUF holds the
/// pairs side by side.
///
///     interleaved row 2j + s of a head = half-split row s * h/2 + j      (s = 0 or 1, j < h/2)
public struct RowOrder: Sendable, Hashable {
    public enum Direction: Sendable, Hashable { case toInterleaved, toHalfSplit }

    public let rowsPerHead: Int
    public let direction: Direction

    /// - Parameter rowsPerHead: even and positive.
    public init(rowsPerHead: Int, direction: Direction) {
        precondition(rowsPerHead > 0 && rowsPerHead % 2 == 0, "a head has an even number of rows")
        self.rowsPerHead = rowsPerHead
        self.direction = direction
    }

    /// The input row that becomes output row `row`.
    public func source(of row: Int) -> Int {
        let start = row / rowsPerHead * rowsPerHead
        let inHead = row - start
        let half = rowsPerHead / 2
        switch direction {
        case .toInterleaved: return start + (inHead % 2) * half + inHead / 2
        case .toHalfSplit: return start + (inHead % half) * 2 + inHead / half
        }
    }

    var inverse: RowOrder {
        RowOrder(rowsPerHead: rowsPerHead, direction: direction == .toInterleaved ? .toHalfSplit : .toInterleaved)
    }

    var summary: String {
        direction == .toInterleaved ? "interleave rotary pairs of \(rowsPerHead) rows" : "split rotary pairs of \(rowsPerHead) rows"
    }
}

extension LazyTensor {
    /// The rows reordered; undoing an earlier reordering gives back the tensor that was reordered.
    public func reordered(_ order: RowOrder) -> LazyTensor {
        if let earlier = operation as? RowPermutation, earlier.order == order.inverse {
            var original = earlier.input.renamed(info.name)
            original.history = history
            return original
        }
        if var rowwise = operation as? any RowwiseOperation {
            // Reordering what goes in is the same as reordering what comes out, and may undo an earlier reordering.
            rowwise.input = rowwise.input.reordered(order)
            return LazyTensor(info: info, operation: rowwise, history: history)
        }
        return LazyTensor(info: info, operation: RowPermutation(input: self, order: order), history: history)
    }
}

extension LazyTensor {
    /// The tensor before its values were rounded, when all that happened to it was rounding and reordering.
    var unrounded: LazyTensor? {
        switch operation {
        case is SourceSlice, is SameBytes: self
        case let encoded as Reencode: encoded.input.unrounded
        case let rounded as RoundedByMethod: rounded.input.unrounded
        case let rounded as RoundedRows: rounded.input?.unrounded
        case let permuted as RowPermutation: permuted.input.unrounded?.reordered(permuted.order)
        case let stack as Stack: restacked(stack.inputs.map(\.unrounded))
        default: nil
        }
    }

    /// The tensor before the roundings and reorderings that came last; `nil` when there were no roundings.
    var beforeRounding: LazyTensor? {
        switch operation {
        case let encoded as Reencode: encoded.input.beforeRounding ?? encoded.input
        case let rounded as RoundedByMethod: rounded.input.beforeRounding ?? rounded.input
        case let rounded as RoundedRows: rounded.input.map { $0.beforeRounding ?? $0 }
        case let permuted as RowPermutation: permuted.input.beforeRounding?.reordered(permuted.order)
        case let stack as Stack: restacked(stack.inputs.map(\.beforeRounding))
        default: nil
        }
    }

    /// A stack of what became of its members, if something did of all.
    private func restacked(_ members: [LazyTensor?]) -> LazyTensor? {
        let found = members.compactMap(\.self)
        return found.count == members.count ? try? .stacked(found, name: info.name) : nil
    }
}

/// Several tensors of one shape and encoding, one after the other along a new outermost dimension.
struct Stack: TensorOperation {
    let inputs: [LazyTensor]

    var summary: String { "stack \(inputs.count) tensors" }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        let rowsEach = inputs[0].info.rowCount
        // Most runs of rows lie inside one member and need no copy.
        if !range.isEmpty, range.lowerBound / rowsEach == (range.upperBound - 1) / rowsEach {
            let member = range.lowerBound / rowsEach
            return try inputs[member].rows(range.lowerBound - member * rowsEach..<range.upperBound - member * rowsEach)
        }
        let rowByteCount = inputs[0].info.rowByteCount ?? 0
        let storage = try ArrayStorage(byteCount: range.count * rowByteCount) { (target) throws in
            var row = range.lowerBound
            while row < range.upperBound {
                let member = row / rowsEach
                let end = min(range.upperBound, (member + 1) * rowsEach)
                let part = try inputs[member].rows(row - member * rowsEach..<end - member * rowsEach)
                copy(part.bytes, into: &target, at: (row - range.lowerBound) * rowByteCount)
                row = end
            }
        }
        return TensorBytes(storage)
    }
}

extension LazyTensor {
    /// Stacks tensors of equal shape and encoding; stacking all the slices of one tensor in order gives that tensor.
    public static func stacked(_ members: [LazyTensor], name: String) throws -> LazyTensor {
        let first = members[0].info
        for member in members where member.info.shape != first.shape || member.info.encoding != first.encoding {
            throw FormatError(
                .invalid(
                    field: "shape of '\(member.info.name)'", found: "\(member.info.encoding.name) \(member.info.shape)",
                    expected: "\(first.encoding.name) \(first.shape) like '\(first.name)'"), tensor: name)
        }
        let history = members[0].history
        let slices = members.compactMap { $0.operation as? OuterSlice }
        if slices.count == members.count, let whole = slices.first?.input,
            whole.info.shape.first == members.count, whole.info.shape.dropFirst() == first.shape[...],
            slices.indices.allSatisfy({ slices[$0].index == $0 && slices[$0].input.info == whole.info })
        {
            var original = whole.renamed(name)
            original.history = history
            return original
        }
        let info = try TensorInfo(name: name, encoding: first.encoding, shape: [members.count] + first.shape)
        return LazyTensor(info: info, operation: Stack(inputs: members), history: history)
    }

    /// One element of the outermost dimension, e.g. one expert of a stacked tensor.
    public func outerSlice(_ index: Int, name: String) throws -> LazyTensor {
        let slice = OuterSlice(input: self, index: index)
        let info = try TensorInfo(name: name, encoding: info.encoding, shape: Array(info.shape.dropFirst()))
        return LazyTensor(info: info, operation: slice, history: history)
    }
}

/// One element of the outermost dimension.
struct OuterSlice: TensorOperation {
    let input: LazyTensor
    let index: Int

    var summary: String { "slice \(index)" }
    var inputs: [LazyTensor] { [input] }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        let start = index * info.rowCount
        return try input.rows(start + range.lowerBound..<start + range.upperBound)
    }
}

/// Copies bytes into a part of a buffer that is known to hold them.
func copy(_ source: RawSpan, into target: inout MutableRawSpan, at byteOffset: Int) {
    precondition(byteOffset >= 0 && byteOffset + source.byteCount <= target.byteCount, "copy past the end of a buffer")
    unsafe source.withUnsafeBytes { from in
        unsafe target.withUnsafeMutableBytes { to in
            guard let base = to.baseAddress, let start = from.baseAddress else { return }
            // The precondition keeps the copy inside `target`; the two are different objects.
            unsafe (base + byteOffset).copyMemory(from: start, byteCount: from.count)
        }
    }
}
