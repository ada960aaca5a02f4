import Formats
import LinearAlgebra

/// A way of rounding weights: what `rounding` in a rule of `quantize` names.
public protocol RoundingMethod: Sendable {
    /// One phrase that says everything that decides what it makes of a weight: equal phrases mean equal bytes.
    var summary: String { get }
    /// Whether weights are rounded one layer after the other, each with the second moments of what it will read.
    var isCalibrated: Bool { get }
    /// Whether it rounds to a type; to what it does not, weights are rounded to nearest, and a warning says so.
    func rounds(to type: GGMLType) -> Bool
    /// A weight that is rounded when it is asked for. Calibrated methods are not asked.
    func rounded(_ tensor: LazyTensor, to type: GGMLType, importance: TensorImportance?) throws -> LazyTensor
    /// Rounds some rows of a weight, all of them in a calibrated method. A row must not depend on those it comes with.
    /// - Returns: the rows as the type stores them.
    func round(_ rows: RowsToRound) throws -> TensorBytes
}

/// Some rows of a weight, and the type they are to get.
public struct RowsToRound: Sendable {
    /// The weight's name.
    public let tensor: String
    /// `[rows, columns]`
    public let weights: Matrix<Float>
    public let type: GGMLType
    /// The mean of x xᵀ over the inputs x of the weight, `[columns, columns]`; `nil` where none were seen.
    public let moments: Matrix<Double>?

    /// Bytes that the rounded rows have.
    public var byteCount: Int { weights.rowCount * weights.columnCount / type.blockSize * type.typeSize }
}

extension RoundingMethod {
    public var isCalibrated: Bool { false }
    public func rounds(to type: GGMLType) -> Bool { true }

    public func rounded(_ tensor: LazyTensor, to type: GGMLType, importance: TensorImportance?) throws -> LazyTensor {
        guard Codec.canDecode(tensor.info.encoding) else {
            throw FormatError(.unsupported(what: "decoding \(tensor.info.encoding.name)"), tensor: tensor.info.name)
        }
        let info = try TensorInfo(name: tensor.info.name, encoding: Encoding(type), shape: tensor.info.shape)
        return LazyTensor(info: info, operation: RoundedByMethod(input: tensor, type: type, method: self), history: tensor.history)
    }
}

/// Rows that a method rounds as they are asked for.
struct RoundedByMethod: TensorOperation {
    let input: LazyTensor
    let type: GGMLType
    let method: any RoundingMethod

    var summary: String { "round with \(method.summary)" }
    var inputs: [LazyTensor] { [input] }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        let weights = Matrix(rowCount: range.count, columnCount: info.columnCount, elements: try decodedRows(range, of: input))
        return try method.round(RowsToRound(tensor: info.name, weights: weights, type: type, moments: nil))
    }
}

/// `nearest`: as the reference implementation of the type rounds.
struct Nearest: RoundingMethod, Declared {
    static let declaration = Declaration(identifier: "nearest", summary: "As each type's reference implementation rounds.")

    init(options: PassOptions) {}

    var summary: String { "nearest" }

    func rounded(_ tensor: LazyTensor, to type: GGMLType, importance: TensorImportance?) throws -> LazyTensor {
        try tensor.encoded(as: Encoding(type), importance: importance)
    }

    func round(_ rows: RowsToRound) throws -> TensorBytes {
        TensorBytes(
            try ArrayStorage(byteCount: rows.byteCount) { target throws(FormatError) in
                try Codec.encode(
                    rows.weights.elements.span, as: Encoding(rows.type), columnCount: rows.weights.columnCount, importance: nil, into: &target)
            })
    }
}
