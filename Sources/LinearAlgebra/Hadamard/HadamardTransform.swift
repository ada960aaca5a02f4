import CKernels
import Threads

/// An orthogonal transform of vectors of one size, in n log n where it can be.
///
///     y = T x,   T = s · (M₁ ⊗ M₂ ⊗ … ⊗ W),   T Tᵀ = I
///
/// W is Walsh and Hadamard's matrix of order 2^m, the Mᵢ are Hadamard matrices whose orders hold the odd factors, and
/// s = 1 / √(order of the Hadamard part). Of all ways to split an order the one with the least arithmetic, Σ order(Mᵢ), is
/// taken: 18944 = 148 · 2^7, 29568 = 12 · 28 · 44 · 2. Where an odd factor has no Hadamard matrix, its M is a random
/// orthogonal matrix from a seed. Source: ResQ (arXiv 2412.14363) and QuaRot (arXiv 2404.00456), the online transform of
/// the feed-forward layer, there with one factor beside W.
public struct HadamardTransform: Sendable {
    /// A dense factor M.
    public struct Factor: Sendable, Equatable {
        public let order: Int
        /// ±1, or a random orthogonal matrix; `[order, order]`, row after row.
        public let elements: [Double]
        /// Whether the elements are ±1.
        public let isHadamard: Bool

        fileprivate let rounded: [Float]

        fileprivate init(_ matrix: Matrix<Double>, isHadamard: Bool) {
            order = matrix.rowCount
            elements = matrix.elements
            rounded = matrix.elements.map { Float($0) }
            self.isHadamard = isHadamard
        }
    }

    /// n.
    public let order: Int
    /// The dense factors, outermost first.
    public let factors: [Factor]
    /// 2^m, the order of W.
    public let powerOfTwo: Int
    /// s.
    public let scale: Float

    /// - Parameter seed: of the random factor, if one is needed.
    /// - Throws: `tooLarge` if that factor is.
    public init(order: Int, seed: UInt64 = 0) throws(LinearAlgebraError) {
        precondition(order > 0, "a transform has an order")
        let powerOfTwo = order & -order
        let choice = Self.cheapest(odd: order / powerOfTwo, powerOfTwo: powerOfTwo)
        var generator = SeededGenerator(seed: seed)
        var (rest, hadamardOrder, factors) = (order, 1, [Factor]())
        for factor in choice.factors {
            rest /= factor.order
            if factor.isHadamard, let matrix = HadamardMatrix(order: factor.order) {
                hadamardOrder *= factor.order
                let elements = matrix.elements.map(Double.init)
                factors.append(
                    Factor(Matrix(rowCount: factor.order, columnCount: factor.order, elements: elements), isHadamard: true))
            } else {
                factors.append(Factor(try randomOrthogonal(order: factor.order, from: &generator), isHadamard: false))
            }
        }
        self.order = order
        self.factors = factors
        self.powerOfTwo = rest
        scale = Float(1 / Double(hadamardOrder * rest).squareRoot())
    }

    /// Whether every factor is a Hadamard matrix.
    public var isHadamard: Bool { factors.allSatisfy(\.isHadamard) }

    /// The cheapest factors that hold an odd number, with at most `powerOfTwo` to spend on them.
    private static func cheapest(
        odd: Int, powerOfTwo: Int
    ) -> (cost: Int, factors: [(order: Int, isHadamard: Bool)]) {
        if odd == 1 { return (0, []) }
        // A random factor is worse than any Hadamard matrix, but for matrices of no use to anyone.
        let penalty = 1 << 20
        var best = (cost: odd + penalty, factors: [(order: odd, isHadamard: false)])
        let smallestPrime = stride(from: 3, through: odd, by: 2).first { odd % $0 == 0 } ?? odd
        // The first factor holds the smallest prime, so that each split is met once.
        for divisor in stride(from: smallestPrime, through: odd, by: 2) where odd % divisor == 0 && divisor % smallestPrime == 0 {
            var own = 4
            while own <= min(powerOfTwo, 32) && !HadamardMatrix.exists(order: divisor * own) { own *= 2 }
            let isHadamard = own <= min(powerOfTwo, 32)
            let rest = cheapest(odd: odd / divisor, powerOfTwo: isHadamard ? powerOfTwo / own : powerOfTwo)
            let order = isHadamard ? divisor * own : divisor
            let cost = order + (isHadamard ? 0 : penalty) + rest.cost
            if cost < best.cost { best = (cost, [(order, isHadamard)] + rest.factors) }
        }
        return best
    }

    /// T itself, `[n, n]`.
    public var matrix: Matrix<Double> {
        var (elements, order) = ([Double(1)], 1)
        for factor in factors {
            elements = kroneckerProduct(elements, order: order, factor.elements, order: factor.order)
            order *= factor.order
        }
        let walsh = HadamardMatrix(order: powerOfTwo)?.elements.map(Double.init) ?? []
        let root = factors.reduce(powerOfTwo) { $1.isHadamard ? $0 * $1.order : $0 }
        let scale = 1 / Double(root).squareRoot()
        return Matrix(
            rowCount: self.order, columnCount: self.order,
            elements: kroneckerProduct(elements, order: order, walsh, order: powerOfTwo).map { $0 * scale })
    }

    /// Every row x of a matrix becomes T x, or Tᵀ x, in place: X ← X Tᵀ, or X T.
    ///
    /// For a linear layer y = W x the rotated weight is W Tᵀ, since W Tᵀ T x = W x: the same call as for activations.
    ///
    /// - Parameters:
    ///   - rows: whole rows of n elements.
    ///   - transposed: apply Tᵀ, the inverse.
    public func apply(to rows: inout MutableSpan<Float>, transposed: Bool = false, threadCount: Int) {
        precondition(rows.count % order == 0, "whole rows")
        let rowCount = rows.count / order
        guard rowCount > 0 else { return }
        // About 64 K elements are worth a thread.
        let rowsPerTask = max(1, 65_536 / order)
        unsafe rows.withUnsafeMutableBufferPointer { rows in
            // Sound to share: tasks change disjoint rows.
            let start = unsafe SharedMutable(rows.baseAddress!)
            inParallel(count: (rowCount + rowsPerTask - 1) / rowsPerTask, threadCount: threadCount) { task in
                var copy = [Float](repeating: 0, count: factors.isEmpty ? 0 : order)
                for row in task * rowsPerTask..<min((task + 1) * rowsPerTask, rowCount) {
                    unsafe applyFactors(start.pointer + row * order, transposed: transposed, copy: &copy)
                }
                let first = task * rowsPerTask
                let runs = (min(first + rowsPerTask, rowCount) - first) * (order / powerOfTwo)
                unsafe resq_walsh_hadamard(start.pointer + first * order, runs, powerOfTwo, scale)
            }
        }
    }

    /// The dense factors, on one row. `row` holds n elements, and so does `copy`.
    @unsafe private func applyFactors(_ row: UnsafeMutablePointer<Float>, transposed: Bool, copy: inout [Float]) {
        var inner = order
        for factor in factors {
            let outer = order / inner
            inner /= factor.order
            unsafe copy.withUnsafeMutableBufferPointer { copy in
                unsafe copy.baseAddress!.update(from: row, count: order)
                unsafe factor.rounded.withUnsafeBufferPointer { elements in
                    for block in 0..<outer {
                        let offset = block * factor.order * inner
                        // Blocks of order · inner elements, `outer` of them, are the whole row.
                        unsafe gemm(
                            transposeA: transposed, transposeB: false, m: factor.order, n: inner, k: factor.order, alpha: 1,
                            a: elements.baseAddress!, aStride: factor.order, b: copy.baseAddress! + offset, bStride: inner, beta: 0,
                            c: row + offset, cStride: inner)
                    }
                }
            }
        }
    }
}
