import LinearAlgebra
import Testing

@Suite struct GramAccumulatorTests {
    /// Against sums in `Double`, for dimensions around the tile and rows past the run that is summed in `Float`.
    @Test(arguments: [(3, 5), (256, 40), (300, 600), (17, 2000)])
    func agreesWithDouble(dimension: Int, rowCount: Int) {
        var generator = SeededGenerator(seed: 1)
        let rows = (0..<dimension * rowCount).map { _ in Float(generator.nextGaussian()) }
        var expected = [Double](repeating: 0, count: dimension * dimension)
        for row in 0..<rowCount {
            for i in 0..<dimension {
                for j in 0..<dimension { expected[i * dimension + j] += Double(rows[row * dimension + i]) * Double(rows[row * dimension + j]) }
            }
        }
        var sums: [Matrix<Double>] = []
        for threadCount in [1, 3] {
            var gram = GramAccumulator(dimension: dimension)
            let half = rowCount / 2
            gram.add(rows.span.extracting(0..<half * dimension), rowCount: half, stride: dimension, threadCount: threadCount)
            gram.add(rows.span.extracting(half * dimension..<rows.count), rowCount: rowCount - half, stride: dimension, threadCount: threadCount)
            #expect(gram.rowCount == rowCount)
            sums.append(gram.sum)
        }
        #expect(sums[0] == sums[1])
        // Relative to the diagonal, which is what the off-diagonal elements are small beside.
        for (found, expected) in zip(sums[0].elements, expected) { #expect(abs(found - expected) <= 1e-6 * Double(rowCount)) }
        #expect(sums[0].transposed == sums[0])
    }

    @Test func partsOfWiderRows() {
        let rows: [Float] = [1, 2, 9, 3, 4, 9]
        var gram = GramAccumulator(dimension: 2)
        gram.add(rows.span.extracting(0..<5), rowCount: 2, stride: 3, threadCount: 1)
        #expect(gram.sum.elements == [10, 14, 14, 20])
        #expect(gram.mean.elements == [5, 7, 7, 10])
        #expect(gram.squareSums == [10, 20])
    }
}
