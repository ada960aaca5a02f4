import LinearAlgebra
import Testing

/// XᵀX / m of seeded normal numbers, with columns of very different size: a covariance with a decaying spectrum.
func covariance(order n: Int, rowCount m: Int, seed: UInt64) -> Matrix<Double> {
    var generator = SeededGenerator(seed: seed)
    var x = Matrix<Double>(rowCount: m, columnCount: n)
    for row in 0..<m { for column in 0..<n { x[row, column] = generator.nextGaussian() / Double(column + 1) } }
    var product = Matrix.product(x, x, transposeA: true)
    for index in product.elements.indices { product.elements[index] /= Double(m) }
    return product
}

/// The largest difference of two matrices' elements.
func distance(_ a: Matrix<Double>, _ b: Matrix<Double>) -> Double {
    precondition(a.rowCount == b.rowCount && a.columnCount == b.columnCount)
    return zip(a.elements, b.elements).map { abs($0 - $1) }.max() ?? 0
}

@Suite struct SymmetricEigenTests {
    @Test(arguments: [1, 2, 7, 64, 129])
    func reconstructs(order n: Int) throws {
        let a = covariance(order: n, rowCount: 2 * n, seed: UInt64(n))
        let eigen = try SymmetricEigen(of: a)
        #expect(eigen.values == eigen.values.sorted())
        #expect(distance(.product(eigen.vectors, eigen.vectors, transposeA: true), .identity(n)) < 1e-13)
        #expect(distance(eigen.applying { $0 }, a) < 1e-13 * (eigen.values.last ?? 0))
        for column in 0..<n {
            let vector = (0..<n).map { eigen.vectors[$0, column] }
            let largest = vector.max { abs($0) < abs($1) } ?? 0
            #expect(largest > 0, "the largest component is positive")
        }
        #expect(try SymmetricEigen(of: a).vectors == eigen.vectors)
    }

    @Test func readsTheLowerTriangleOnly() throws {
        var a = covariance(order: 5, rowCount: 9, seed: 1)
        let expected = try SymmetricEigen(of: a)
        for row in 0..<5 { for column in row + 1..<max(5, row + 1) { a[row, column] = 100 } }
        #expect(try SymmetricEigen(of: a).values == expected.values)
    }

    @Test func squareRoots() throws {
        let a = covariance(order: 20, rowCount: 60, seed: 3)
        let (root, inverse) = try SymmetricEigen(of: a).squareRoots(floor: 1e-12)
        #expect(distance(.product(root, root), a) < 1e-14)
        #expect(distance(.product(root, inverse), .identity(20)) < 1e-12)
    }

    @Test func refusesWhatIsNotFinite() {
        var a = Matrix<Double>.identity(4)
        a[2, 1] = .nan
        #expect(throws: LinearAlgebraError.notFinite(row: 2, column: 1)) { try SymmetricEigen(of: a) }
        a[2, 1] = .infinity
        #expect(throws: LinearAlgebraError.notFinite(row: 2, column: 1)) { try a.inverseCholeskyFactor(damping: Damping()) }
    }
}

@Suite struct CholeskyTests {
    private let none = Damping(fraction: 0, escalations: 0)

    @Test(arguments: [1, 2, 7, 130])
    func factors(order n: Int) throws {
        let a = covariance(order: n, rowCount: 3 * n, seed: UInt64(n))
        let lower = try a.choleskyFactor(damping: none).factor
        #expect(distance(.product(lower, lower, transposeB: true), a) < 1e-14)
        let inverse = try a.inverse(damping: none).inverse
        #expect(distance(.product(a, inverse), .identity(n)) < 1e-9)
        let upper = try a.inverseCholeskyFactor(damping: none).factor
        for row in 0..<n { for column in 0..<row { #expect(upper[row, column] == 0) } }
        #expect(distance(.product(upper, .product(upper, a), transposeA: true), .identity(n)) < 1e-9)

        let right = covariance(order: n, rowCount: n, seed: 99)
        #expect(distance(.product(lower, lower.solvingLower(right)), right) < 1e-12)
        #expect(distance(.product(lower, lower.solvingLower(right, transposed: true), transposeA: true), right) < 1e-12)
    }

    @Test func dampingIsAFractionOfTheMeanDiagonal() throws {
        let a = Matrix<Double>(rowCount: 2, columnCount: 2, elements: [3, 0, 0, 5])
        let result = try a.choleskyFactor(damping: Damping(fraction: 0.25, escalations: 0))
        #expect(result.damping == 1)
        #expect(result.factor.elements == [2, 0, 0, 6.0.squareRoot()])
    }

    @Test func dampingGrowsUntilItSuffices() throws {
        // Eigenvalues 4 and -2: more than 2 must be added; a hundredth of the mean is 0.01, then 0.1, 1, 10.
        let a = Matrix<Double>(rowCount: 2, columnCount: 2, elements: [1, 3, 3, 1])
        #expect(try a.inverseCholeskyFactor(damping: Damping(fraction: 0.01, escalations: 4)).damping == 10)
        #expect(throws: LinearAlgebraError.notPositiveDefinite(damping: 0.1)) {
            try a.inverseCholeskyFactor(damping: Damping(fraction: 0.01, escalations: 1))
        }
        #expect(throws: LinearAlgebraError.notPositiveDefinite(damping: 0)) {
            try Matrix<Double>(rowCount: 3, columnCount: 3).choleskyFactor(damping: Damping())
        }
    }

    @Test func rankDeficientIsDamped() throws {
        // Three rows span at most three of eight dimensions.
        let a = covariance(order: 8, rowCount: 3, seed: 5)
        let result = try a.inverseCholeskyFactor(damping: Damping())
        #expect(result.damping > 0)
        #expect(result.factor.elements.allSatisfy { $0.isFinite })
    }
}
