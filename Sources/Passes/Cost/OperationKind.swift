/// The operations that take a calibrating recipe's time.
///
/// Their rates are measured by `scripts/benchmarks/rates`, which prints this table; expected times are sums over it.
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
        case .products: 30e9
        case .narrowProducts: 8e9
        case .attention: 15e9
        case .moments: 30e9
        case .eigenvectors: 3e9
        case .factors: 20e9
        case .compensation: 30e9
        case .rounding: 2e6
        case .rotation: 15e9
        case .storing: 100e6
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
