import LinearAlgebra
import Testing

@Suite struct HadamardTests {
    /// H Hᵀ = n I, in integers, for every order that claims to exist up to 260 and some large ones.
    @Test func rowsAreOrthogonal() throws {
        let orders = [1, 2] + Array(stride(from: 4, through: 260, by: 4)) + [344, 488, 924]
        for n in orders where HadamardMatrix.exists(order: n) {
            let matrix = try #require(HadamardMatrix(order: n))
            #expect(matrix.elements.count == n * n)
            #expect(matrix.elements.allSatisfy { $0 == 1 || $0 == -1 })
            // Sums of at most 924 products of ±1 are exact in Float.
            let h = Matrix<Float>(rowCount: n, columnCount: n, elements: matrix.elements.map(Float.init))
            var expected = Matrix<Float>.identity(n)
            for index in 0..<n { expected[index, index] = Float(n) }
            #expect(Matrix.product(h, h, transposeB: true) == expected, "order \(n)")
        }
    }

    @Test func ordersThatExist() {
        let missing = stride(from: 4, through: 400, by: 4).filter { !HadamardMatrix.exists(order: $0) }
        #expect(missing == [236, 260, 268, 324, 356, 372])
        for n in [0, 3, 5, 6, 10, 18, 37, 38, 231] { #expect(!HadamardMatrix.exists(order: n)) }
    }

    @Test(arguments: [1, 2, 3, 6, 8, 12, 16, 20, 24, 35, 37, 48, 56, 72, 84, 126, 128, 336, 504, 576])
    func transformIsItsMatrix(order n: Int) throws {
        let transform = try HadamardTransform(order: n, seed: 3)
        let t = transform.matrix
        #expect(distance(.product(t, t, transposeB: true), .identity(n)) < 1e-13)
        var generator = SeededGenerator(seed: 1)
        let x = Matrix<Double>(rowCount: 5, columnCount: n, elements: (0..<5 * n).map { _ in generator.nextGaussian() })
        for transposed in [false, true] {
            let expected = Matrix.product(x, t, transposeB: !transposed)
            var rows = x.converted(to: Float.self).elements
            var span = rows.mutableSpan
            transform.apply(to: &span, transposed: transposed, threadCount: 2)
            let result = Matrix<Double>(rowCount: 5, columnCount: n, elements: rows.map(Double.init))
            #expect(distance(result, expected) < 5e-6)
        }
    }

    @Test func transposedIsTheInverseWhateverTheThreads() throws {
        let transform = try HadamardTransform(order: 1536)
        #expect(transform.factors.map(\.order) == [12] && transform.powerOfTwo == 128)
        var generator = SeededGenerator(seed: 1)
        let original = (0..<200 * 1536).map { _ in Float(generator.nextGaussian()) }
        var results: [[Float]] = []
        for threadCount in [1, 3] {
            var rows = original
            var span = rows.mutableSpan
            transform.apply(to: &span, threadCount: threadCount)
            results.append(rows)
        }
        #expect(results[0] == results[1])
        var rows = results[0]
        var span = rows.mutableSpan
        transform.apply(to: &span, transposed: true, threadCount: 2)
        #expect(zip(rows, original).allSatisfy { abs($0 - $1) < 3e-6 })
    }

    /// The factors of sizes that models have.
    @Test func factorsOfKnownSizes() throws {
        func factors(_ n: Int) throws -> [Int] {
            let transform = try HadamardTransform(order: n)
            #expect(transform.factors.reduce(transform.powerOfTwo) { $0 * $1.order } == n)
            return transform.isHadamard ? transform.factors.map(\.order) : []
        }
        #expect(try factors(8192) == [])
        #expect(try factors(11008) == [172])
        #expect(try factors(14336) == [28])
        #expect(try factors(8960) == [20, 28])
        #expect(try factors(4864) == [76])
        #expect(try factors(18944) == [148])
        #expect(try factors(29568) == [12, 28, 44])
        // No even factor is left for 35, so that it is random.
        #expect(try HadamardTransform(order: 35).factors.map(\.isHadamard) == [false])
    }

    /// The fast transform makes the same additions as the plain butterflies, so that the bits agree.
    @Test(arguments: [1, 2, 4, 8, 16, 32, 64, 128, 512, 2048])
    func fastTransformAgreesWithButterflies(order n: Int) throws {
        var generator = SeededGenerator(seed: UInt64(n))
        let original = (0..<3 * n).map { _ in Float(generator.nextGaussian()) }
        var rows = original
        var span = rows.mutableSpan
        let transform = try HadamardTransform(order: n)
        transform.apply(to: &span, threadCount: 1)
        var expected = original
        for run in 0..<3 {
            var half = 1
            while half < n {
                for i in 0..<n where i & half == 0 {
                    let (a, b) = (expected[run * n + i], expected[run * n + i + half])
                    expected[run * n + i] = a + b
                    expected[run * n + i + half] = a - b
                }
                half *= 2
            }
        }
        #expect(rows == expected.map { $0 * transform.scale })
    }
}
