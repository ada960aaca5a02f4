import Formats
import Models
import Synchronization

/// Something that a calibration gathers of what linear layers read: what `resq calibrate --statistics` names.
public protocol Statistic: Sendable {
    /// One phrase that says everything that decides what is gathered: an interrupted calibration goes on when it is the same.
    var summary: String { get }
    /// Watches the layers of a model, one after the other.
    func collector(for model: ModelDescription, threadCount: Int) -> any StatisticCollector
}

/// Watches layers, and says of each what it saw.
public protocol StatisticCollector: ForwardHooks {
    /// What the layer's run gave since the last call, as tensors whose names begin with `layers.LAYER.`.
    func take(layer: Int) throws -> [LazyTensor]
}

/// The statistics that come with the project; several are gathered by one collector.
struct BuiltInStatistic: Statistic {
    let kinds: StatisticsKinds

    var summary: String { "kinds \(kinds.rawValue)" }

    func collector(for model: ModelDescription, threadCount: Int) -> any StatisticCollector {
        StatisticsCollector(kinds, model: model, threadCount: threadCount)
    }
}

extension StatisticsCollector: StatisticCollector {
    func take(layer: Int) -> [LazyTensor] { take().tensors(layer: layer) }
}

extension [any Statistic] {
    /// The same with those of the project in one, so that a row is looked at once for all of them.
    var merged: [any Statistic] {
        let kinds = compactMap { ($0 as? BuiltInStatistic)?.kinds }
        guard !kinds.isEmpty else { return self }
        return [BuiltInStatistic(kinds: kinds.reduce([]) { $0.union($1) })] + filter { !($0 is BuiltInStatistic) }
    }
}

/// Lets several collectors see what flows through a layer.
final class CollectorGroup: ForwardHooks {
    private let collectors: [any StatisticCollector]

    init(_ collectors: [any StatisticCollector]) { self.collectors = collectors }

    func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) throws {
        for collector in collectors { try collector.input(place, layer: layer, rows: &rows, columnCount: columnCount) }
    }

    func queries(layer: Int, rows: inout MutableSpan<Float>) throws {
        for collector in collectors { try collector.queries(layer: layer, rows: &rows) }
    }

    func keys(layer: Int, rows: inout MutableSpan<Float>) throws {
        for collector in collectors { try collector.keys(layer: layer, rows: &rows) }
    }

    func values(layer: Int, rows: inout MutableSpan<Float>) throws {
        for collector in collectors { try collector.values(layer: layer, rows: &rows) }
    }
}
