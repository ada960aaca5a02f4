import LinearAlgebra
import Testing

@Suite struct RandomTests {
    /// The first outputs for the state that SplitMix64 makes of seed 0, by the authors' C programs.
    @Test func generatorAgreesWithItsDefinition() {
        var generator = SeededGenerator(seed: 0)
        let first = (0..<3).map { _ in generator.next() }
        #expect(first == randomFixture.first)
    }

    @Test func gaussianMomentsAndDigits() {
        var generator = SeededGenerator(seed: 7)
        let numbers = (0..<200_000).map { _ in generator.nextGaussian() }
        for (number, expected) in zip(numbers, randomFixture.gaussians) { #expect(abs(number - expected) < 1e-14) }
        func mean(_ power: Int) -> Double { numbers.reduce(0) { sum, x in sum + (0..<power).reduce(1) { p, _ in p * x } } / 200_000 }
        // Five standard errors of each sample moment: √(1, 2, 15, 96) / √200000.
        #expect(abs(mean(1)) < 0.0112)
        #expect(abs(mean(2) - 1) < 0.0159)
        #expect(abs(mean(3)) < 0.0434)
        #expect(abs(mean(4) - 3) < 0.110)
    }

    @Test(arguments: [1, 2, 9, 72])
    func orthogonal(order n: Int) throws {
        var generator = SeededGenerator(seed: UInt64(n))
        let q = try randomOrthogonal(order: n, from: &generator)
        #expect(distance(.product(q, q, transposeA: true), .identity(n)) < 1e-13)
        var other = SeededGenerator(seed: UInt64(n))
        #expect(try randomOrthogonal(order: n, from: &other) == q)
        let next = try randomOrthogonal(order: n, from: &other)
        #expect(n == 1 || next != q)
    }

    /// Q of numpy's QR with the signs of R's diagonal, of the same normal numbers.
    @Test func orthogonalAgreesWithNumPy() throws {
        var generator = SeededGenerator(seed: 11)
        let q = try randomOrthogonal(order: 4, from: &generator)
        for (number, expected) in zip(q.elements, randomFixture.orthogonal) { #expect(abs(number - expected) < 1e-13) }
    }
}
