import LinearAlgebra
import Testing

@Suite struct ProductTests {
    /// Small integers, whose products and sums are exact in `Float`.
    private func integers(_ count: Int, seed: Int) -> [Float] { (0..<count).map { Float(($0 &* 7919 &+ seed) % 17 - 8) } }

    @Test(arguments: [(1, 5, 3), (3, 1, 7), (17, 300, 33), (300, 600, 65), (16, 257, 40)])
    func linearLayer(rowCount: Int, outputCount: Int, inputCount: Int) {
        let x = integers(rowCount * inputCount, seed: 1), weight = integers(outputCount * inputCount, seed: 5)
        var expected = [Float](repeating: 0, count: rowCount * outputCount)
        for row in 0..<rowCount {
            for output in 0..<outputCount {
                for k in 0..<inputCount { expected[row * outputCount + output] += x[row * inputCount + k] * weight[output * inputCount + k] }
            }
        }
        for threadCount in [1, 2, 3] {
            var y = [Float](repeating: 1, count: rowCount * outputCount)
            var span = y.mutableSpan
            applyLinear(
                x.span, xStride: inputCount, rowCount: rowCount, weight: weight.span, inputCount: inputCount, outputCount: outputCount,
                into: &span, yStride: outputCount, threadCount: threadCount)
            #expect(y == expected)
            var again = y.mutableSpan
            applyLinear(
                x.span, xStride: inputCount, rowCount: rowCount, weight: weight.span, inputCount: inputCount, outputCount: outputCount,
                into: &again, yStride: outputCount, accumulates: true, threadCount: threadCount)
            #expect(y == expected.map { 2 * $0 })
        }
    }

    @Test func transposedProducts() {
        let a = Matrix<Double>(rowCount: 3, columnCount: 2, elements: [1, 2, 3, 4, 5, 6])
        let b = Matrix<Double>(rowCount: 2, columnCount: 3, elements: [1, -1, 2, 0, 3, 1])
        let product = Matrix.product(a, b)
        #expect(product.elements == [1, 5, 4, 3, 9, 10, 5, 13, 16])
        #expect(Matrix.product(a.transposed, b, transposeA: true) == product)
        #expect(Matrix.product(a, b.transposed, transposeB: true) == product)
        #expect(Matrix.product(.identity(3), a) == a)
    }
}
