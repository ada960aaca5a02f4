import Formats
import LinearAlgebra
import ResQ

/// The input side of a weight, rotated; or a bias, whose elements are outputs.
///
///     W ← W U
struct RotateColumns: RowwiseOperation {
    var input: LazyTensor
    let rotation: LazyRotation

    var summary: String { "rotate columns: \(rotation.summary)" }
    var rotationWorkPerElement: Int { 2 * rotation.order }

    func change(_ rows: Range<Int>, _ values: inout MutableSpan<Float>) throws {
        try rotation.make().rotateColumns(of: &values, threadCount: 1)
    }
}

/// The input side of a weight after a Hadamard transform of its input.
///
///     W ← W Tᵀ        or, taking it back, W ← W T
struct TransformColumns: RowwiseOperation {
    var input: LazyTensor
    let transform: HadamardTransform
    let seed: UInt64
    let isInverse: Bool

    var summary: String { "\(isInverse ? "inverse " : "")Hadamard transform of columns, seed \(seed)" }

    func change(_ rows: Range<Int>, _ values: inout MutableSpan<Float>) {
        transform.apply(to: &values, transposed: isInverse, threadCount: 1)
    }
}

/// The output side of a weight, rotated.
///
///     W[first...] ← Uᵀ W[first...]
///
/// An output row needs all rows of its block. They are decoded once and kept, as are panels of finished rows, until all
/// have been handed out: the memory is that of the tensor as `Float`.
struct RotateRows: TensorOperation {
    let input: LazyTensor
    let rotation: LazyRotation
    /// Rows before the first that is rotated: those of q and k where one matrix holds q, k and v.
    let first: Int
    private let panels: RotatedPanels

    /// - Parameter order: of the rotation.
    init(input: LazyTensor, rotation: LazyRotation, first: Int = 0, keeping store: RotatedPanels.Store) {
        self.input = input
        self.rotation = rotation
        self.first = first
        panels = RotatedPanels(input: input, rotation: rotation, first: first, store: store)
    }

    var summary: String { "rotate rows from \(first): \(rotation.summary)" }
    var inputs: [LazyTensor] { [input] }
    var rotationWorkPerElement: Int { 2 * rotation.order }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        try encodedRows(range, of: info) { rows, values throws in
            let width = info.columnCount
            let plain = rows.clamped(to: 0..<first)
            if !plain.isEmpty {
                var part = values.part(0..<plain.count * width)
                try decodeRows(plain, of: input, into: &part)
            }
            let rotated = rows.clamped(to: first..<max(first, info.rowCount))
            if !rotated.isEmpty {
                var part = values.part((rows.count - rotated.count) * width..<values.count)
                try panels.copyRows(rotated, into: &part)
            }
        }
    }
}

extension LazyTensor {
    /// W U, in F32.
    func rotatingColumns(by rotation: LazyRotation) throws -> LazyTensor {
        try computed(RotateColumns(input: self, rotation: rotation), note: "rotated columns (\(rotation.summary))")
    }

    /// Uᵀ W, in F32.
    func rotatingRows(by rotation: LazyRotation, from first: Int = 0, keeping store: RotatedPanels.Store) throws -> LazyTensor {
        try computed(
            RotateRows(input: self, rotation: rotation, first: first, keeping: store), note: "rotated rows (\(rotation.summary))")
    }

    /// W Tᵀ, or W T, in F32.
    func transformingColumns(seed: UInt64, isInverse: Bool = false) throws -> LazyTensor {
        let transform = try HadamardTransform(order: info.columnCount, seed: seed)
        return try computed(TransformColumns(input: self, transform: transform, seed: seed, isInverse: isInverse),
            note: isInverse ? "Hadamard transform of the input taken back" : "Hadamard transform of the input")
    }

    private func computed(_ operation: any TensorOperation, note: String) throws -> LazyTensor {
        guard Codec.canDecode(info.encoding) else {
            throw FormatError(.unsupported(what: "decoding \(info.encoding.name)"), tensor: info.name)
        }
        let target = try TensorInfo(name: info.name, encoding: .plain(.f32), shape: info.shape)
        return LazyTensor(info: target, operation: operation, history: history).noting(note)
    }
}
