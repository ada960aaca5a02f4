/// The operations that take a calibrating recipe's time.
///
/// Expected times are sums of amounts over rates. `scripts/benchmarks/rates` measures the rates and prints them beside those
/// written here, which are of one thread of an AMD EPYC server with AVX2.
package enum OperationKind: String, CaseIterable, Sendable {
    /// Multiplications and additions of linear layers, in `Float`.
    case products
    /// The same for few tokens at once, where weights are read more than multiplied with: a model that writes.
    case narrowProducts = "narrow-products"
    /// Those of attention, between queries and keys and over values.
    case attention
    /// Those of second moments, upper triangles alone.
    case moments
    /// n³ of the eigenvectors of symmetric matrices, in `Double`.
    case eigenvectors
    /// n³ of the factors of Hessians, in `Double`.
    case factors
    /// Multiplications and additions that carry errors of rounding on to later columns.
    case compensation
    /// Weights rounded with the search for their scales, each error carried on inside its block.
    case rounding
    /// Multiplications and additions that turn weights, in `Double`.
    case rotation
    /// Weights decoded, or encoded and written.
    case storing

    /// Units in a CPU-second.
    package var rate: Double {
        switch self {
        case .products: 72e9
        case .narrowProducts: 36e9
        case .attention: 49e9
        case .moments: 59e9
        case .eigenvectors: 3.7e9
        case .factors: 18e9
        case .compensation: 62e9
        case .rounding: 10e6
        case .rotation: 23e9
        case .storing: 240e6
        }
    }
}

/// So much work of each kind.
public struct WorkEstimate: Sendable, Equatable {
    private(set) var amounts: [OperationKind: Double] = [:]

    public init() {}

    subscript(kind: OperationKind) -> Double {
        get { amounts[kind] ?? 0 }
        set { amounts[kind] = newValue }
    }

    static func + (a: WorkEstimate, b: WorkEstimate) -> WorkEstimate {
        var sum = a
        for (kind, amount) in b.amounts { sum[kind] += amount }
        return sum
    }

    /// On a processor like the one the rates were measured on.
    var cpuSeconds: Double { OperationKind.allCases.reduce(0) { $0 + self[$1] / $1.rate } }
}
