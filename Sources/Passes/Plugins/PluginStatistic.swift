import Formats
import LinearAlgebra
import Models
import Synchronization

/// A plugin's statistic: *apply* with some rows that linear layers read gives numbers, which are added up over all rows, or of
/// which the largest are kept.
struct PluginStatistic: Statistic {
    /// What it says of itself beside its declaration.
    struct Facts: Sendable {
        /// Whether there is a number for each pair of channels, and not one for each channel.
        var isMatrix = false
        /// Whether the largest are kept, and not the sums.
        var keepsLargest = false
        /// The inputs it looks at, as calibration files name them (`experts` for those of all experts); all when there are none.
        var inputs: Set<String> = []
    }

    static let inputNames = ["attention", "attention_output", "mlp", "mlp_output", "experts", "experts_output", "shared_expert_output"]

    let call: PluginCall
    let facts: Facts

    var summary: String { call.summary }

    func collector(for model: ModelDescription, threadCount: Int) -> any StatisticCollector { Collector(statistic: self) }

    /// The numbers of some rows, `[rows, columns]`.
    func numbers(of rows: [Float], columnCount: Int) throws -> [Double] {
        let info = try TensorInfo(name: "rows", encoding: .plain(.f32), shape: [rows.count / columnCount, columnCount])
        let shape = facts.isMatrix ? [columnCount, columnCount] : [columnCount]
        let result = try TensorInfo(name: "statistic", encoding: .plain(.f64), shape: shape)
        let bytes = try call.apply(
            inputs: [(info.described(), TensorBytes(floats: rows))], outputs: [(result.described(), result.byteCount)], rows: nil, tensor: "rows")[0]
        return bytes.doubles
    }

    private final class Collector: StatisticCollector {
        private let statistic: PluginStatistic
        private let sums = Mutex<[LinearInput: [Double]]>([:])

        init(statistic: PluginStatistic) { self.statistic = statistic }

        func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws {
            let kind: String? =
                switch place {
                case .expert: "experts"
                case .expertOutput: "experts_output"
                case .head: nil
                default: place.name
                }
            guard let kind, rows.count > 0, statistic.facts.inputs.isEmpty || statistic.facts.inputs.contains(kind) else { return }
            let span = rows.span
            let numbers = try statistic.numbers(of: span.indices.map { span[$0] }, columnCount: columnCount)
            let keepsLargest = statistic.facts.keepsLargest
            sums.withLock { sums in
                sums[place] = sums[place].map { before in zip(before, numbers).map { keepsLargest ? max($0, $1) : $0 + $1 } } ?? numbers
            }
        }

        func take(layer: Int) throws -> [LazyTensor] {
            let found = sums.withLock { sums in
                defer { sums = [:] }
                return sums.sorted { $0.key.name < $1.key.name }
            }
            return found.map { place, numbers in
                let width = statistic.facts.isMatrix ? Int(Double(numbers.count).squareRoot().rounded()) : numbers.count
                return .floats(
                    "layers.\(layer).\(place.name).\(statistic.call.identifier)", numbers.map(Float.init),
                    shape: statistic.facts.isMatrix ? [width, width] : [width])
            }
        }
    }
}
