/// A matrix of +1 and -1 whose rows are orthogonal.
///
///     H Hᵀ = n I,   H[i, j] = ±1
///
/// Such matrices can exist only for n = 1, 2 and multiples of 4. Constructed here: Sylvester's and Kronecker products,
/// both of Paley's over the finite fields of prime-power order, and Goethals and Seidel's array of four circulants for
/// the orders whose sequences are tabled. Every multiple of 4 below 236 is covered.
public struct HadamardMatrix: Sendable, Equatable {
    /// n.
    public let order: Int
    /// The elements, row after row.
    public let elements: [Int8]

    /// Nil if none of the constructions gives this order.
    public init?(order: Int) {
        guard let construction = HadamardConstruction(order: order) else { return nil }
        self.order = order
        elements = construction.elements(order: order)
    }

    /// Whether a matrix of this order can be constructed.
    public static func exists(order: Int) -> Bool { HadamardConstruction(order: order) != nil }
}

/// How a Hadamard matrix of an order is made.
enum HadamardConstruction: Equatable {
    /// n = 1.
    case single
    /// n = q + 1, q a prime power, q mod 4 = 3.
    case paleyFirst(FiniteFieldOrder)
    /// n = 2 (q + 1), q a prime power, q mod 4 = 1.
    case paleySecond(FiniteFieldOrder)
    /// n = 4 · the length of four tabled sequences.
    case goethalsSeidel
    /// n = the product of two orders; the first is the smallest that works.
    case kronecker(Int, Int)

    init?(order n: Int) {
        if n == 1 { self = .single; return }
        if n == 2 { self = .kronecker(2, 1); return }
        guard n >= 4, n % 4 == 0 else { return nil }
        // Powers of two are Sylvester's, so that the fast transform applies to them.
        if n & (n - 1) == 0 { self = .kronecker(2, n / 2); return }
        if n % 4 == 0, (n - 1) % 4 == 3, let field = FiniteFieldOrder(n - 1) { self = .paleyFirst(field); return }
        if (n / 2 - 1) % 4 == 1, let field = FiniteFieldOrder(n / 2 - 1) { self = .paleySecond(field); return }
        if hadamardSequences[n / 4] != nil { self = .goethalsSeidel; return }
        for first in 2...n / 2 where n % first == 0 && (first == 2 || first % 4 == 0) {
            if HadamardConstruction(order: first) != nil, HadamardConstruction(order: n / first) != nil {
                self = .kronecker(first, n / first)
                return
            }
        }
        return nil
    }

    func elements(order n: Int) -> [Int8] {
        switch self {
        case .single: [1]
        case .kronecker(2, 1): [1, 1, 1, -1]
        case .paleyFirst(let field): Self.paleyFirst(FiniteField(field))
        case .paleySecond(let field): Self.paleySecond(FiniteField(field))
        case .goethalsSeidel: Self.goethalsSeidel(hadamardSequences[n / 4] ?? [])
        case .kronecker(let first, let second):
            kroneckerProduct(
                HadamardMatrix(order: first)?.elements ?? [], order: first, HadamardMatrix(order: second)?.elements ?? [], order: second)
        }
    }
}

/// (A ⊗ B)[i·b + k, j·b + l] = A[i, j] B[k, l].
func kroneckerProduct<Scalar: Numeric>(_ a: [Scalar], order m: Int, _ b: [Scalar], order n: Int) -> [Scalar] {
    var result: [Scalar] = []
    result.reserveCapacity(m * n * m * n)
    for row in 0..<m * n {
        for column in 0..<m * n { result.append(a[row / n * m + column / n] * b[row % n * n + column % n]) }
    }
    return result
}
