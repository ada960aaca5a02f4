/// A random orthogonal matrix, uniformly distributed (by Haar's measure).
///
///     G = Q R, the elements of G standard normal:   result = Q diag(sign(diag R))
///
/// Source: Mezzadri, "How to generate random matrices from the classical compact groups" (2007). The normal numbers are
/// the same on every machine; the factorization agrees between machines to rounding.
///
/// - Throws: `tooLarge` for orders above 32,766.
public func randomOrthogonal(order: Int, from generator: inout SeededGenerator) throws(LinearAlgebraError) -> Matrix<Double> {
    guard order <= largestEigenOrder else { throw .tooLarge(order: order, limit: largestEigenOrder) }
    var columns = (0..<order * order).map { _ in generator.nextGaussian() }
    let signs = orthogonalFactorInPlace(&columns, n: order)
    for (column, sign) in signs.enumerated() where sign == .minus {
        for index in column * order..<(column + 1) * order { columns[index].negate() }
    }
    return Matrix(rowCount: order, columnCount: order, elements: columns).transposed
}
