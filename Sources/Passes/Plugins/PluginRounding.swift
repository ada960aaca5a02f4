import Formats
import LinearAlgebra

/// A plugin's way of rounding: *apply* with a weight's rows in F32, and the moments of its input in F64, gives the rows rounded.
struct PluginRounding: RoundingMethod {
    /// What it says of itself beside its declaration.
    struct Facts: Sendable {
        var isCalibrated = false
        /// Whether it answers with numbers, which are then stored to nearest, and not with the type's bytes.
        var givesValues = false
        /// The types it rounds to; all when there are none.
        var types: [Encoding] = []
    }

    let call: PluginCall
    let facts: Facts

    var summary: String { call.summary }
    var isCalibrated: Bool { facts.isCalibrated }

    func rounds(to type: GGMLType) -> Bool { facts.types.isEmpty || facts.types.contains(Encoding(type)) }

    func round(_ rows: RowsToRound) throws -> TensorBytes {
        let (weights, columnCount) = (rows.weights, rows.weights.columnCount)
        let info = try TensorInfo(name: rows.tensor, encoding: .plain(.f32), shape: [weights.rowCount, columnCount])
        let rounded = try TensorInfo(name: rows.tensor, encoding: Encoding(rows.type), shape: info.shape)
        var inputs = [(info: info.described(), bytes: TensorBytes(floats: weights.elements))]
        if let moments = rows.moments {
            let info = try TensorInfo(name: "moments", encoding: .plain(.f64), shape: [columnCount, columnCount])
            inputs.append((info.described(), TensorBytes(doubles: moments.elements)))
        }
        var described = rounded.described()
        if facts.givesValues { described = info.described(roundedTo: rows.type) }
        let byteCount = facts.givesValues ? info.byteCount : rounded.byteCount
        let answer = try call.apply(inputs: inputs, outputs: [(described, byteCount)], rows: nil, tensor: rows.tensor)[0]
        guard facts.givesValues else { return answer }
        let values = LazyTensor(info: info, operation: Constant(bytes: answer, summary: "values"))
        return try values.encoded(as: rounded.encoding).rows(0..<weights.rowCount)
    }
}

extension TensorInfo {
    /// Numbers that will be stored as a type, in the words of the protocol.
    fileprivate func described(roundedTo type: GGMLType) -> JSONValue {
        guard var object = described().object else { return described() }
        object["rounded-to"] = .string(type.name)
        return .object(object)
    }
}
