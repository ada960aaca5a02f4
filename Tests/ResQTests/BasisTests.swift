import LinearAlgebra
import ResQ
import Testing

@Suite struct SubspaceTests {
    @Test func thePapersSplit() throws {
        let split = try SubspaceSplit(middleBits: 4, high: .init(fraction: 0.125, bits: 8))
        #expect(try split.subspaces(width: 576) == [Subspace(range: 0..<504, bits: 4), Subspace(range: 504..<576, bits: 8)])
        let three = try SubspaceSplit(low: .init(fraction: 0.125, bits: 2), middleBits: 4, high: .init(fraction: 0.125, bits: 6))
        #expect(try three.subspaces(width: 64).map(\.range) == [0..<8, 8..<56, 56..<64])
        #expect(try SubspaceSplit(middleBits: 4).subspaces(width: 7) == [Subspace(range: 0..<7, bits: 4)])
        #expect(try SubspaceSplit(middleBits: 4, high: .init(fraction: 0.1, bits: 8)).subspaces(width: 320)[1].range == 288..<320)
    }

    @Test func emptyAndOddPartsAreRefused() throws {
        let split = try SubspaceSplit(middleBits: 4, high: .init(fraction: 0.125, bits: 8))
        #expect(throws: ResQError.emptySubspace(width: 7, fraction: 0.125)) { try split.subspaces(width: 7) }
        #expect(throws: ResQError.oddSubspace(width: 72, fraction: 0.125, dimensions: 9)) { try split.subspaces(width: 72) }
        #expect(throws: ResQError.oddSubspace(width: 17, fraction: 0.875, dimensions: 15)) { try split.subspaces(width: 17) }
        #expect(throws: ResQError.fractionOutOfRange(1.1)) {
            try SubspaceSplit(low: .init(fraction: 0.5, bits: 2), middleBits: 4, high: .init(fraction: 0.6, bits: 8))
        }
        #expect(throws: ResQError.fractionOutOfRange(0)) { try SubspaceSplit(middleBits: 4, high: .init(fraction: 0, bits: 8)) }
        #expect(throws: ResQError.bitsOutOfRange(1)) { try SubspaceSplit(middleBits: 1) }
    }

    @Test func headColumnsAreGatheredByPart() throws {
        let parts = [Subspace(range: 0..<2, bits: 4), Subspace(range: 2..<4, bits: 8)]
        let order = headColumnOrder(headCount: 3, subspaces: parts)
        #expect(order == [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11])
        #expect(gatheredSubspaces(headCount: 3, subspaces: parts) == [Subspace(range: 0..<6, bits: 4), Subspace(range: 6..<12, bits: 8)])
        var rows = (0..<24).map(Float.init)
        var span = rows.mutableSpan
        permuteColumns(of: &span, order: order)
        #expect(rows[12..<24].map { Int($0) - 12 } == order)
        span = rows.mutableSpan
        permuteColumns(of: &span, order: inversePermutation(order))
        #expect(rows == (0..<24).map(Float.init))
    }
}

@Suite struct BasisTests {
    let fixture = MethodFixture.shared

    @Test func agreesWithNumPy() throws {
        let basis = try principalBasis(of: fixture.hessianMatrix)
        let scale = try #require(basis.values.last)
        for (value, expected) in zip(basis.values, fixture.basis.values) { #expect(abs(value - expected) < 1e-12 * scale) }
        // Vectors of well separated values.
        for column in 20..<fixture.columns {
            for row in 0..<fixture.columns {
                #expect(abs(basis.vectors[row, column] - fixture.basis.vectors[row * fixture.columns + column]) < 1e-9)
            }
        }
    }

    @Test func principalDirectionsAreLast() throws {
        let moments = correlatedMoments(order: 64, rowCount: 200, seed: 1)
        let basis = try principalBasis(of: moments, damping: 0)
        let split = try SubspaceSplit(middleBits: 4, high: .init(fraction: 0.125, bits: 8)).subspaces(width: 64)
        let shares = energyShares(values: basis.values, subspaces: split)
        #expect(abs(shares[0] + shares[1] - 1) < 1e-12)
        var generator = SeededGenerator(seed: 1)
        let rotation = try subspaceRotation(split, kind: .random, from: &generator)
        let u = rotation.composed(after: basis.vectors)
        #expect(u == Matrix.product(basis.vectors, rotation.matrix) || maximum(u, .product(basis.vectors, rotation.matrix)) < 1e-14)
        // The energy in the last coordinates of x U is the share of the principal directions, however they are mixed.
        let rotated = Matrix.product(.product(u, moments, transposeA: true), u)
        let energy = split[1].range.reduce(0) { $0 + rotated[$1, $1] } / (0..<64).reduce(0) { $0 + rotated[$1, $1] }
        #expect(abs(energy - shares[1]) < 1e-10)
        // Both parts are mixed only within themselves.
        #expect(abs(rotated[3, 60]) < 1e-10)
    }

    private func maximum(_ a: Matrix<Double>, _ b: Matrix<Double>) -> Double {
        zip(a.elements, b.elements).map { abs($0 - $1) }.max() ?? 0
    }

    @Test(arguments: RotationKind.allCases)
    func rotationsAreOrthogonal(kind: RotationKind) throws {
        var generator = SeededGenerator(seed: 5)
        let parts = try SubspaceSplit(low: .init(fraction: 0.125, bits: 2), middleBits: 4, high: .init(fraction: 0.125, bits: 8))
            .subspaces(width: 96)
        let rotation = try subspaceRotation(parts, kind: kind, from: &generator)
        #expect(rotation.order == 96)
        #expect(maximum(.product(rotation.matrix, rotation.matrix, transposeB: true), .identity(96)) < 1e-13)
        if kind == .hadamard { #expect(rotation.blocks.allSatisfy { block in block.elements.allSatisfy { abs(abs($0) - 1 / Double(block.rowCount).squareRoot()) < 1e-14 } }) }
    }

    /// Fusing a rotation into two layers that meet leaves their product as it was.
    @Test func fusedRotationsCancel() throws {
        var generator = SeededGenerator(seed: 8)
        let blocks = try (0..<3).map { _ in try randomOrthogonal(order: 40, from: &generator) }
        let rotation = BlockRotation(blocks: blocks)
        let (first, second) = (normalMatrix(rowCount: 120, columnCount: 70, seed: 1), normalMatrix(rowCount: 90, columnCount: 120, seed: 2))
        let expected = Matrix.product(second.converted(to: Double.self), first.converted(to: Double.self))
        var results: [[Float]] = []
        for threadCount in [1, 3] {
            var (left, right) = (second.elements, first.elements)
            var span = left.mutableSpan
            rotation.rotateColumns(of: &span, threadCount: threadCount)
            span = right.mutableSpan
            rotation.rotateRows(of: &span, columnCount: 70, threadCount: threadCount)
            #expect(left != second.elements && right != first.elements)
            let product = Matrix.product(
                Matrix<Double>(rowCount: 90, columnCount: 120, elements: left.map(Double.init)),
                Matrix<Double>(rowCount: 120, columnCount: 70, elements: right.map(Double.init)))
            #expect(maximum(product, expected) < 2e-5)
            results.append(left + right)
        }
        #expect(results[0] == results[1])
    }

    /// Three value heads, each read by two query heads.
    @Test func basesOfHeadsRepeat() throws {
        var generator = SeededGenerator(seed: 8)
        let blocks = try (0..<3).map { _ in try randomOrthogonal(order: 4, from: &generator) }
        let repeated = BlockRotation(blocks: blocks).repeatingEachBlock(2)
        #expect(repeated.blocks == [blocks[0], blocks[0], blocks[1], blocks[1], blocks[2], blocks[2]])
        #expect(repeated.order == 24)
    }

    @Test func weightsAndActivationsWeighAlike() {
        let x = Matrix<Double>(rowCount: 2, columnCount: 2, elements: [3, 1, 1, 1])
        let w = Matrix<Double>(rowCount: 2, columnCount: 2, elements: [5, 0, 0, 15])
        #expect(activationAndWeightMoments(activations: x, weights: w).elements == [1, 0.25, 0.25, 1])
        let zero = Matrix<Double>(rowCount: 2, columnCount: 2)
        #expect(activationAndWeightMoments(activations: x, weights: zero).elements == [0.75, 0.25, 0.25, 0.25])
    }
}

@Suite struct ActivationQuantizerTests {
    let fixture = MethodFixture.shared.activations

    private func rounded(_ quantizer: ActivationQuantizer, _ x: [Float], columnCount: Int) throws -> [Float] {
        var rows = x
        var span = rows.mutableSpan
        try quantizer.apply(to: &span, columnCount: columnCount)
        return rows
    }

    @Test func agreesWithNumPy() throws {
        let token = ActivationQuantizer(subspaces: [Subspace(range: 0..<16, bits: 4)], includesZero: true)
        let heads = ActivationQuantizer(subspaces: [Subspace(range: 0..<6, bits: 4), Subspace(range: 6..<8, bits: 8)], includesZero: false)
        let symmetric = ActivationQuantizer(subspaces: [Subspace(range: 0..<16, bits: 4)], isSymmetric: true, includesZero: true)
        for (quantizer, expected) in [(token, fixture.token), (heads, fixture.heads), (symmetric, fixture.symmetric)] {
            let result = try rounded(quantizer, fixture.x, columnCount: 16)
            for (value, wanted) in zip(result, expected) { #expect(abs(value - wanted) < 1e-6) }
        }
    }

    @Test(arguments: [2, 4, 8], [1, 5, 16, 33, 100])
    func theErrorIsAtMostHalfAStep(bits: Int, width: Int) throws {
        let x = normalMatrix(rowCount: 6, columnCount: width, seed: UInt64(width)).elements
        let quantizer = ActivationQuantizer(subspaces: [Subspace(range: 0..<width, bits: bits)], includesZero: false)
        let result = try rounded(quantizer, x, columnCount: width)
        for row in 0..<6 {
            let (before, after) = (x[row * width..<(row + 1) * width], result[row * width..<(row + 1) * width])
            let step = ((before.max() ?? 0) - (before.min() ?? 0)) / Float(1 << bits - 1)
            // Rounding the zero point can move the range by half a step.
            for (a, b) in zip(before, after) { #expect(abs(a - b) <= 1.01 * step + 1e-6) }
            #expect(Set(after).count <= 1 << bits)
        }
    }

    @Test func constantsAndZerosAreKept() throws {
        let quantizer = ActivationQuantizer(subspaces: [Subspace(range: 0..<20, bits: 4)], includesZero: false)
        #expect(try rounded(quantizer, Array(repeating: 0, count: 20), columnCount: 20) == Array(repeating: 0, count: 20))
        for value in try rounded(quantizer, Array(repeating: 3.7, count: 20), columnCount: 20) { #expect(abs(value - 3.7) < 1e-6) }
    }

    @Test func whatIsNotFiniteIsNamed() {
        let quantizer = ActivationQuantizer(subspaces: [Subspace(range: 0..<4, bits: 4), Subspace(range: 4..<8, bits: 8)], includesZero: false)
        var x = [Float](repeating: 1, count: 48)
        x[16 + 13] = .nan
        #expect(throws: ResQError.notFinite(row: 1, column: 13)) { try rounded(quantizer, x, columnCount: 16) }
        x[16 + 13] = -.infinity
        #expect(throws: ResQError.notFinite(row: 1, column: 13)) { try rounded(quantizer, x, columnCount: 16) }
    }
}
