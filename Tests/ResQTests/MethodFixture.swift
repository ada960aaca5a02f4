import Foundation
import LinearAlgebra
import ResQ

/// What numpy makes of small inputs; see scripts/fixtures/make_method_fixtures.py.
struct MethodFixture: Decodable {
    struct Rounding: Decodable {
        let levels: [Int16]
        let scales: [Float]
    }
    struct Basis: Decodable { let values, vectors: [Double] }
    struct Activations: Decodable { let x, token, heads, symmetric: [Float] }
    struct Residual: Decodable {
        let error, product, energies: [Double]
        let rank: Int
    }

    let rows, columns: Int
    let weights: [Float]
    let hessian: [Double]
    let basis: Basis
    let cases: [String: Rounding]
    let activations: Activations
    let residual: Residual

    static let shared: MethodFixture = {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        do {
            return try JSONDecoder().decode(
                MethodFixture.self, from: Data(contentsOf: folder.appendingPathComponent("Fixtures/method.json")))
        } catch {
            fatalError("\(error)")
        }
    }()

    var weightMatrix: Matrix<Float> { Matrix(rowCount: rows, columnCount: columns, elements: weights) }
    var hessianMatrix: Matrix<Double> { Matrix(rowCount: columns, columnCount: columns, elements: hessian) }
}

/// Seeded normal numbers.
func normalMatrix(rowCount: Int, columnCount: Int, seed: UInt64) -> Matrix<Float> {
    var generator = SeededGenerator(seed: seed)
    return Matrix(
        rowCount: rowCount, columnCount: columnCount, elements: (0..<rowCount * columnCount).map { _ in Float(generator.nextGaussian()) })
}

/// The second moment of correlated rows with a decaying spectrum.
func correlatedMoments(order n: Int, rowCount m: Int, seed: UInt64) -> Matrix<Double> {
    let mixing = normalMatrix(rowCount: n, columnCount: n, seed: seed).converted(to: Double.self)
    var x = Matrix.product(normalMatrix(rowCount: m, columnCount: n, seed: seed + 1).converted(to: Double.self), mixing)
    for row in 0..<m { for column in 0..<n { x[row, column] /= Double(1 + column % 17) } }
    var moments = Matrix.product(x, x, transposeA: true)
    for index in moments.elements.indices { moments.elements[index] /= Double(m) }
    return moments
}

func difference(_ a: Matrix<Float>, _ b: Matrix<Float>) -> Matrix<Double> {
    Matrix(rowCount: a.rowCount, columnCount: a.columnCount, elements: zip(a.elements, b.elements).map { Double($0) - Double($1) })
}
