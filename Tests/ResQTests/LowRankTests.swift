import Foundation
import LinearAlgebra
import ResQ
import Testing

@Suite struct LowRankResidualTests {
    let fixture = MethodFixture.shared

    /// Against [E S^½]_r S^-½ by numpy.
    @Test func agreesWithTheClosedForm() throws {
        let error = Matrix<Double>(rowCount: fixture.rows, columnCount: fixture.columns, elements: fixture.residual.error)
        var moments = fixture.hessianMatrix
        let mean = (0..<fixture.columns).reduce(0) { $0 + moments[$1, $1] } / Double(fixture.columns)
        for index in 0..<fixture.columns { moments[index, index] += 0.01 * mean }
        let residual = try lowRankResidual(of: error, moments: moments, rank: fixture.residual.rank)
        for (value, expected) in zip(residual.product.elements, fixture.residual.product) { #expect(abs(value - expected) < 1e-9) }
        for (value, expected) in zip(residual.energies, fixture.residual.energies) { #expect(abs(value - expected) < 1e-9 * expected) }
    }

    /// Wide and tall: what remains is what the energies do not take, and no other pair of the same rank does better.
    @Test(arguments: [(30, 50), (50, 30)])
    func nothingBetterIsNear(m: Int, n: Int) throws {
        let error = normalMatrix(rowCount: m, columnCount: n, seed: 3).converted(to: Double.self)
        let moments = correlatedMoments(order: n, rowCount: 80, seed: 4)
        let residual = try lowRankResidual(of: error, moments: moments, rank: 6)
        func remaining(_ product: Matrix<Double>) -> Double {
            var rest = error
            for index in rest.elements.indices { rest.elements[index] -= product.elements[index] }
            return outputError(rest, hessian: moments)
        }
        let least = remaining(residual.product)
        let tail = outputError(error, hessian: moments) - residual.energies.reduce(0, +)
        #expect(abs(least - tail) < 1e-6 * tail)
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<20 {
            var (left, right) = (residual.left, residual.right)
            for index in left.elements.indices { left.elements[index] += 0.01 * generator.nextGaussian() }
            for index in right.elements.indices { right.elements[index] += 0.01 * generator.nextGaussian() }
            #expect(remaining(.product(left, right)) > least)
        }
    }

    /// Sides for which it is iterated for: as good as the closed form, and orthonormal.
    @Test(arguments: [(200, 260, 0), (260, 200, 0), (200, 260, 2)])
    func theIteratedIsAsGood(m: Int, n: Int, decay: Int) throws {
        var error = normalMatrix(rowCount: m, columnCount: n, seed: 9).converted(to: Double.self)
        for row in 0..<m { for column in 0..<n { error[row, column] /= pow(Double(1 + row), Double(decay)) } }
        let moments = correlatedMoments(order: n, rowCount: 300, seed: 10)
        let residual = try lowRankResidual(of: error, moments: moments, rank: 4)
        #expect(try lowRankResidual(of: error, moments: moments, rank: 4).product == residual.product)
        let inner = Matrix.product(.product(error, moments), error, transposeB: true)
        let best = try SymmetricEigen(of: inner).values.suffix(4).reduce(0, +)
        let taken = residual.energies.reduce(0, +)
        #expect(taken <= best * (1 + 1e-12) && taken > 0.99 * best)
        var rest = error
        let product = residual.product
        for index in rest.elements.indices { rest.elements[index] -= product.elements[index] }
        let total = outputError(error, hessian: moments)
        #expect(abs(outputError(rest, hessian: moments) - (total - taken)) < 1e-9 * total)
        let gram = Matrix.product(residual.left, residual.left, transposeA: true)
        for row in 0..<4 { for column in 0..<4 { #expect(abs(gram[row, column] - (row == column ? 1 : 0)) < 1e-12) } }
    }

    /// An error of one direction: the second column has nothing to do.
    @Test func anErrorOfOneDirectionIsTakenWhole() throws {
        var error = Matrix<Double>(rowCount: 200, columnCount: 200)
        for row in 0..<200 { for column in 0..<200 { error[row, column] = Double(row + 1) * Double(column - 77) / 1000 } }
        let moments = correlatedMoments(order: 200, rowCount: 300, seed: 12)
        let residual = try lowRankResidual(of: error, moments: moments, rank: 2)
        for (a, b) in zip(residual.product.elements, error.elements) { #expect(abs(a - b) < 1e-9) }
    }

    /// Inputs that were always zero, for a tall weight and for a wide one, small and large.
    @Test(arguments: [(8, 4), (4, 8), (200, 160)]) func whatNobodySeesHasNoResidual(m: Int, n: Int) throws {
        let error = normalMatrix(rowCount: m, columnCount: n, seed: 13).converted(to: Double.self)
        let residual = try lowRankResidual(of: error, moments: Matrix(rowCount: n, columnCount: n), rank: 2)
        #expect(residual.energies == [0, 0] && residual.product.elements.allSatisfy { $0 == 0 })
    }

    @Test func noErrorHasAnEmptyIteration() throws {
        let error = Matrix<Double>(rowCount: 200, columnCount: 200)
        let residual = try lowRankResidual(of: error, moments: correlatedMoments(order: 200, rowCount: 300, seed: 11), rank: 2)
        #expect(residual.energies == [0, 0] && residual.product.elements.allSatisfy { $0 == 0 })
    }

    /// A weight that its grid holds exactly leaves nothing to repair.
    @Test func noErrorHasAnEmptyResidual() throws {
        let weights = Matrix<Float>(rowCount: 8, columnCount: 32, elements: (0..<256).map { Float($0 % 15 - 7) })
        let moments = correlatedMoments(order: 32, rowCount: 80, seed: 2)
        let refined = try refinedBaseAndResidual(weights: weights, moments: moments, rank: 2, rounds: 2, storage: .exact) { target in ((), target) }
        #expect(refined.error == 0 && refined.right.elements.allSatisfy { $0 == 0 })
    }

    /// Alternation does not end worse than one round, and the error reported is that of the pair returned.
    @Test func alternationHelps() throws {
        let n = 96
        let weights = normalMatrix(rowCount: 64, columnCount: n, seed: 5)
        let moments = correlatedMoments(order: n, rowCount: 200, seed: 6)
        let factor = try HessianFactor(moments)
        func refined(_ rounds: Int) throws -> RefinedWeight<QuantizedMatrix, Void> {
            try refinedBaseAndResidual(weights: weights, moments: moments, rank: 8, rounds: rounds, storage: .exact) { target throws(ResQError) in
                let base = try round(
                    target, to: [GridPart(columns: 0..<n, grid: BlockGrid.q4_0)], factor: factor, dynamicGroups: true, threadCount: 1)
                return (base, base.dequantized())
            }
        }
        let (one, three) = (try refined(1), try refined(3))
        #expect(three.error < one.error)
        var rest = difference(weights, three.base.dequantized())
        let product = Matrix.product(three.left, three.right)
        for index in rest.elements.indices { rest.elements[index] -= product.elements[index] }
        #expect(abs(outputError(rest, hessian: moments) - three.error) < 1e-9 * three.error)
        #expect(one.error < 0.9 * outputError(difference(weights, one.base.dequantized()), hessian: moments))
    }

    /// Factors stored coarsely: the other one, and the base of the next round, make up for it.
    @Test func storedFactorsAreFittedToEachOther() throws {
        let n = 96
        let weights = normalMatrix(rowCount: 64, columnCount: n, seed: 7)
        let moments = correlatedMoments(order: n, rowCount: 200, seed: 8)
        let factor = try HessianFactor(moments)
        func coarse(_ matrix: Matrix<Double>) -> Matrix<Double> {
            let step = (matrix.elements.map(abs).max() ?? 1) / 4
            return Matrix(rowCount: matrix.rowCount, columnCount: matrix.columnCount, elements: matrix.elements.map { ($0 / step).rounded() * step })
        }
        func base(_ target: Matrix<Float>) throws(ResQError) -> (base: QuantizedMatrix, values: Matrix<Float>) {
            let base = try round(
                target, to: [GridPart(columns: 0..<n, grid: BlockGrid.q4_0)], factor: factor, dynamicGroups: true, threadCount: 1)
            return (base, base.dequantized())
        }
        let stored = try refinedBaseAndResidual(
            weights: weights, moments: moments, rank: 8, rounds: 1,
            storage: FactorStorage<Void>(left: { ((), coarse($0)) }, right: { ((), $0) }), base: base)
        #expect(stored.left == coarse(stored.left))
        // Without the fit, A is that of the exact B.
        let exact = try refinedBaseAndResidual(weights: weights, moments: moments, rank: 8, rounds: 1, storage: .exact, base: base)
        var unfitted = difference(weights, exact.base.dequantized())
        let product = Matrix.product(coarse(exact.left), exact.right)
        for index in unfitted.elements.indices { unfitted.elements[index] -= product.elements[index] }
        #expect(stored.error < outputError(unfitted, hessian: moments))
        #expect(exact.error < stored.error)
    }
}
