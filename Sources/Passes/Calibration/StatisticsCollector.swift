import CKernels
import Formats
import LinearAlgebra
import Models
import Synchronization

/// What is gathered during a calibration.
public struct StatisticsKinds: OptionSet, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Per channel of every linear input: mean, mean square, largest magnitude. What an importance matrix needs.
    public static let channels = StatisticsKinds(rawValue: 1)
    /// Second-moment matrices of the inputs of q/k/v and of gate/up.
    public static let residual = StatisticsKinds(rawValue: 2)
    /// Second-moment matrices of the inputs of o and down, and of each expert's.
    public static let inner = StatisticsKinds(rawValue: 4)
    /// Second-moment matrices of keys and queries after RoPE, and of values, per key-value head.
    public static let heads = StatisticsKinds(rawValue: 8)

    public static let all: StatisticsKinds = [.channels, .residual, .inner, .heads]
    /// The names people use for them.
    public static let names: [(name: String, kind: StatisticsKinds)] = [
        ("channels", .channels), ("residual", .residual), ("inner", .inner), ("heads", .heads),
    ]
}

/// Statistics of one layer's activations, gathered while it runs.
final class StatisticsCollector: ForwardHooks {
    /// Statistics of the input of some linear layers.
    struct Input {
        var rowCount = 0
        var sums: [Double]
        var squareSums: [Double]
        var largest: [Float]
        var gram: GramAccumulator?
    }

    struct State {
        var inputs: [LinearInput: Input] = [:]
        var keys: [GramAccumulator] = []
        var queries: [GramAccumulator] = []
        var values: [GramAccumulator] = []
    }

    private let kinds: StatisticsKinds
    private let headDimension: Int
    private let headCount: Int
    private let keyValueHeadCount: Int
    private let threadCount: Int
    private let state = Mutex(State())

    init(_ kinds: StatisticsKinds, model: ModelDescription, threadCount: Int) {
        self.kinds = kinds
        self.threadCount = threadCount
        headDimension = model.hyperparameters.headDimension
        headCount = model.hyperparameters.heads
        keyValueHeadCount = model.hyperparameters.keyValueHeads
    }

    /// What was gathered since the last call.
    func take() -> State {
        state.withLock { state in
            defer { state = State() }
            return state
        }
    }

    func input(_ place: LinearInput, layer: Int, rows: inout MutableSpan<Float>, columnCount: Int) {
        let rowCount = rows.count / columnCount
        guard rowCount > 0 else { return }
        var input = state.withLock { $0.inputs.removeValue(forKey: place) }
            ?? Input(
                sums: Array(repeating: 0, count: columnCount), squareSums: Array(repeating: 0, count: columnCount),
                largest: Array(repeating: 0, count: columnCount), gram: wantsGram(place) ? GramAccumulator(dimension: columnCount) : nil)
        input.rowCount += rowCount
        input.addChannels(rows.span, columnCount: columnCount)
        input.gram?.add(rows.span, rowCount: rowCount, stride: columnCount, threadCount: threadCount)
        if input.gram == nil { input.addSquares(rows.span, columnCount: columnCount) }
        let updated = input
        state.withLock { $0.inputs[place] = updated }
    }

    private func wantsGram(_ place: LinearInput) -> Bool {
        switch place {
        case .attention, .mlp: kinds.contains(.residual)
        case .attentionOutput, .mlpOutput, .expert, .expertOutput, .sharedExpertOutput: kinds.contains(.inner)
        case .head: false
        }
    }

    func queries(layer: Int, rows: inout MutableSpan<Float>) { addHeads(\.queries, rows.span, headCount: headCount) }
    func keys(layer: Int, rows: inout MutableSpan<Float>) { addHeads(\.keys, rows.span, headCount: keyValueHeadCount) }
    func values(layer: Int, rows: inout MutableSpan<Float>) { addHeads(\.values, rows.span, headCount: keyValueHeadCount) }

    /// Adds each head's part of the rows to the accumulator of its key-value head.
    private func addHeads(_ field: any WritableKeyPath<State, [GramAccumulator]> & Sendable, _ rows: Span<Float>, headCount: Int) {
        guard kinds.contains(.heads) else { return }
        var grams = state.withLock { state in
            defer { state[keyPath: field] = [] }
            return state[keyPath: field]
        }
        grams.addHeads(
            rows, headCount: headCount, keyValueHeadCount: keyValueHeadCount, headDimension: headDimension, threadCount: threadCount)
        let updated = grams
        state.withLock { $0[keyPath: field] = updated }
    }
}

extension StatisticsCollector.Input {
    mutating func addChannels(_ rows: Span<Float>, columnCount: Int) {
        unsafe rows.withUnsafeBufferPointer { rows in
            unsafe sums.withUnsafeMutableBufferPointer { sums in
                unsafe largest.withUnsafeMutableBufferPointer { largest in
                    for start in stride(from: 0, to: rows.count, by: columnCount) {
                        // Whole rows; both targets have one element per column.
                        unsafe resq_column_statistics(rows.baseAddress! + start, largest.baseAddress!, sums.baseAddress!, columnCount)
                    }
                }
            }
        }
    }

    mutating func addSquares(_ rows: Span<Float>, columnCount: Int) {
        for start in stride(from: 0, to: rows.count, by: columnCount) {
            for column in 0..<columnCount {
                let value = Double(rows[start + column])
                squareSums[column] += value * value
            }
        }
    }

    /// Sums of squares per channel, from the matrix where there is one.
    var channelSquareSums: [Double] { gram?.squareSums ?? squareSums }
}
