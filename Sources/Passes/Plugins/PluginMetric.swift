import Formats
import Models

/// A plugin's metric: *apply* with logits gives a number for each row; the mean is reported.
struct PluginMetric: Metric {
    let call: PluginCall
    let title: String
    let needsReference: Bool

    var summary: String { call.summary }

    func scores(of rows: JudgedRows) throws -> [Double] {
        let count = rows.next.count
        var inputs: [(info: JSONValue, bytes: TensorBytes)] = []
        for (name, logits) in [("logits", rows.logits), ("reference", rows.referenceLogits)] {
            guard let logits else { continue }
            let info = try TensorInfo(name: name, encoding: .plain(.f32), shape: [count, rows.vocabulary])
            inputs.append((info.described(), TensorBytes(floats: logits)))
        }
        let next = try TensorInfo(name: "next", encoding: .plain(.i32), shape: [count])
        inputs.append((next.described(), TensorBytes(rows.next.flatMap { id in (0..<4).map { UInt8(truncatingIfNeeded: id >> (8 * $0)) } })))
        let scores = try TensorInfo(name: "scores", encoding: .plain(.f64), shape: [count])
        let bytes = try call.apply(inputs: inputs, outputs: [(scores.described(), scores.byteCount)], rows: nil, tensor: "logits")[0]
        let numbers = bytes.doubles
        if let row = numbers.firstIndex(where: \.isNaN) {
            throw call.error("gives NaN, which is no number, for row \(row) of \(count), whose next token is \(rows.next[row])")
        }
        return numbers
    }

    func figures(of text: JudgedText) -> [Figure] {
        let (mean, error) = text.mean
        return [Figure(call.identifier, title: title, value: mean, error: error)]
    }
}
