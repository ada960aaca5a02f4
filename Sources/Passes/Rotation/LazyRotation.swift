import Formats
import LinearAlgebra
import ResQ

/// An orthogonal matrix that is made when it is first needed, and one phrase that tells it from any other.
struct LazyRotation: Sendable {
    let summary: String
    /// Of each of its blocks.
    let order: Int
    let make: @Sendable () throws -> BlockRotation
}

extension LazyRotation {
    /// The rotation that a tensor of a file holds: `[order, order]`, or blocks one after another.
    ///
    /// Making it throws `FormatError` for a matrix that is not orthogonal: the file was damaged.
    init(reading tensor: LazyTensor) {
        let order = tensor.info.columnCount
        self.init(summary: "\(tensor.info.name) \(tensor.operation.summary)", order: order) {
            let values = try floats(of: tensor).map(Double.init)
            let blocks = stride(from: 0, to: values.count, by: order * order).map { start in
                Matrix(rowCount: order, columnCount: order, elements: Array(values[start..<start + order * order]))
            }
            for block in blocks {
                let deviation = block.deviationFromOrthogonal
                guard deviation < Matrix<Double>.orthogonalTolerance else {
                    throw FormatError(
                        .invalid(field: "rotation", found: "UᵀU off the identity by \(deviation)", expected: "an orthogonal matrix, to 1e-5"),
                        tensor: tensor.info.name)
                }
            }
            return BlockRotation(blocks: blocks)
        }
    }

    /// This rotation, then another of the same blocks: U₁ U₂.
    func followed(by second: LazyRotation) -> LazyRotation {
        let (made, first) = (Once<BlockRotation>(), self)
        return LazyRotation(summary: "\(summary), then \(second.summary)", order: order) {
            try made.value {
                BlockRotation(blocks: zip(try first.make().blocks, try second.make().blocks).map { Matrix.product($0, $1) })
            }
        }
    }

    /// Uᵀ, which takes it back.
    var inverse: LazyRotation {
        let (made, rotation) = (Once<BlockRotation>(), self)
        return LazyRotation(summary: "inverse of \(summary)", order: order) {
            try made.value { BlockRotation(blocks: try rotation.make().blocks.map(\.transposed)) }
        }
    }

    /// The same with each block several times: a head's as its query heads see it.
    func repeatingEachBlock(_ count: Int) -> LazyRotation {
        let rotation = self
        return LazyRotation(summary: summary, order: order) { try rotation.make().repeatingEachBlock(count) }
    }
}

extension Matrix<Double> {
    /// Orthogonal matrices in F32 are within a few times 1e-7.
    static let orthogonalTolerance = 1e-5

    /// The largest |PᵀP - I|; NaN when an element is no number.
    var deviationFromOrthogonal: Double {
        let product = Matrix.product(self, self, transposeA: true)
        var deviation = 0.0
        for row in 0..<columnCount {
            for column in 0..<columnCount {
                let distance = abs(product[row, column] - (row == column ? 1 : 0))
                // Not `max`, which may let NaN pass.
                if !(distance <= deviation), !deviation.isNaN { deviation = distance }
            }
        }
        return deviation
    }
}

/// The blocks of a rotation as a tensor: for those who multiply with it while the model runs, or take it back.
struct RotationMatrix: TensorOperation {
    let rotation: LazyRotation

    var summary: String { "rotation: \(rotation.summary)" }
    var inputs: [LazyTensor] { [] }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        let (blocks, order) = (try rotation.make().blocks, info.columnCount)
        return try encodedRows(range, of: info) { rows, values in
            for (index, row) in rows.enumerated() {
                let block = blocks[row / order]
                for column in 0..<order { values[index * order + column] = Float(block[row % order, column]) }
            }
        }
    }
}

extension LazyTensor {
    /// - Parameter shape: `[order, order]`, or `[blocks, order, order]`.
    static func matrix(of rotation: LazyRotation, shape: [Int], name: String) throws -> LazyTensor {
        let info = try TensorInfo(name: name, encoding: .plain(.f32), shape: shape)
        return LazyTensor(info: info, operation: RotationMatrix(rotation: rotation), history: ["rotation (\(rotation.summary))"])
    }
}
