import LinearAlgebra
import ResQ
import Testing

@Suite struct RoundingTests {
    let fixture = MethodFixture.shared

    /// Grids, act-order and dynamic groups of each case of the fixture.
    private func setting(_ name: String) throws -> (parts: [GridPart], actOrder: Bool, dynamic: Bool) {
        let n = fixture.columns
        let clip: IntegerGrid.ClipSearch = name.contains("clipped") ? .paper : .none
        if name.hasPrefix("4 and 8") {
            return (
                [
                    GridPart(columns: 0..<24, grid: try IntegerGrid(bits: 4, clipSearch: clip)),
                    GridPart(columns: 24..<n, grid: try IntegerGrid(bits: 8, clipSearch: clip)),
                ], name.contains("act-order"), false
            )
        }
        let bits = try #require(name.split(separator: " ").compactMap { Int($0.filter(\.isNumber)) }.first)
        let granularity: IntegerGrid.Granularity =
            name.contains("groups of 8") ? .group(8) : name.contains("groups of 12") ? .group(12) : .row
        let grid = try IntegerGrid(
            bits: bits, isSymmetric: !name.contains("asymmetric"), granularity: granularity, clipSearch: clip)
        return ([GridPart(columns: 0..<n, grid: grid)], name.contains("act-order"), name.contains("dynamic"))
    }

    @Test(arguments: MethodFixture.shared.cases.keys.sorted())
    func agreesWithThePlainAlgorithm(name: String) throws {
        let expected = try #require(fixture.cases[name])
        let (parts, actOrder, dynamic) = try setting(name)
        let factor = name.hasPrefix("nearest")
            ? HessianFactor(roundingToNearest: Array(repeating: 1, count: fixture.columns))
            : try HessianFactor(fixture.hessianMatrix, parts: parts.map(\.columns), actOrder: actOrder)
        let result = try round(fixture.weightMatrix, to: parts, factor: factor, dynamicGroups: dynamic, threadCount: 2)
        #expect(result.levels == expected.levels)
        for row in 0..<fixture.rows {
            for part in result.parts {
                for column in part.columns {
                    let (scale, wanted) = (part.scale(row: row, group: part.group(of: column)), expected.scales[row * fixture.columns + column])
                    #expect(abs(scale - wanted) <= 2e-5 * wanted)
                }
            }
        }
    }

    /// Larger than a block of 128 columns and a strip of 128 rows: against the plain loop in Double, with the scales found.
    @Test(arguments: BlockGrid.allCases)
    func everyBlockGridAgreesWithThePlainLoop(grid: BlockGrid) throws {
        let (rows, n) = (20, 512)
        let weights = normalMatrix(rowCount: rows, columnCount: n, seed: 1)
        let moments = correlatedMoments(order: n, rowCount: 700, seed: 2)
        let factor = try HessianFactor(moments)
        let result = try round(weights, to: [GridPart(columns: 0..<n, grid: grid)], factor: factor, dynamicGroups: false, threadCount: 2)
        let values = result.dequantized()
        let part = result.parts[0]
        let upper = try #require(factor.upper)
        var misses = 0
        for row in 0..<rows {
            var w = (0..<n).map { Double(weights[row, $0]) }
            for column in 0..<n {
                let group = part.group(of: column)
                let (scale, offset) = (Double(part.scale(row: row, group: group)), Double(part.offset(row: row, group: group)))
                let level = result.levels[row * n + column]
                let choices = grid.codebook.map { $0.map { scale * Double($0) } } ?? levels(of: grid).map { scale * Double($0) + offset }
                let chosen = Double(values[row, column])
                // The value taken is the nearest of all, but for rounding errors of the compensated weight.
                let nearest = choices.map { abs($0 - w[column]) }.min() ?? 0
                if abs(chosen - w[column]) > nearest + 1e-4 { misses += 1 }
                #expect(choices.contains { abs($0 - chosen) < 1e-6 }, "level \(level)")
                let error = (w[column] - chosen) / Double(upper[column, column])
                for later in column..<n { w[later] -= error * Double(upper[column, later]) }
            }
        }
        #expect(misses == 0)
    }

    private func levels(of grid: BlockGrid) -> ClosedRange<Int> {
        switch grid {
        case .q4_0: -8...7
        case .q5_0: -16...15
        case .q8_0: -127...127
        case .q3_K: -4...3
        case .q6_K: -32...31
        case .q4_1, .q4_K: 0...15
        case .q5_1, .q5_K: 0...31
        case .q2_K: 0...3
        case .iq4_nl, .iq4_xs: 0...15
        }
    }

    /// What a file can hold: binary16 super-scales, small sub-scales, levels in range.
    @Test(arguments: BlockGrid.allCases, [false, true])
    func scalesAreRepresentable(grid: BlockGrid, dynamic: Bool) throws {
        let n = 512
        let weights = normalMatrix(rowCount: 17, columnCount: n, seed: 4)
        let factor = try HessianFactor(correlatedMoments(order: n, rowCount: 600, seed: 5))
        let result = try round(weights, to: [GridPart(columns: 0..<n, grid: grid)], factor: factor, dynamicGroups: dynamic, threadCount: 1)
        let part = result.parts[0]
        #expect(part.superScales.allSatisfy { Float(Float16($0)) == $0 })
        #expect(part.superOffsets.allSatisfy { Float(Float16($0)) == $0 })
        let limits: ClosedRange<Int16> =
            switch grid {
            case .q2_K: 0...15
            case .q4_K, .q5_K: 0...63
            case .q3_K, .iq4_xs: -32...31
            case .q6_K: -128...127
            default: 1...1
            }
        #expect(part.subScales.allSatisfy { limits.contains($0) })
        #expect(part.subOffsets.allSatisfy { limits.contains($0) || $0 == 1 })
        let range = levels(of: grid)
        #expect(result.levels.allSatisfy { range.contains(Int($0)) })
    }

    /// Compensation lowers the error of the outputs, on every grid; and rounding to nearest reports no loss.
    @Test(arguments: BlockGrid.allCases)
    func compensationLowersTheOutputError(grid: BlockGrid) throws {
        let n = 256
        let weights = normalMatrix(rowCount: 32, columnCount: n, seed: 7)
        let moments = correlatedMoments(order: n, rowCount: 400, seed: 8)
        let factor = try HessianFactor(moments)
        let parts = [GridPart(columns: 0..<n, grid: grid)]
        func error(_ factor: HessianFactor, dynamic: Bool) throws -> Double {
            let result = try round(weights, to: parts, factor: factor, dynamicGroups: dynamic, threadCount: 1)
            return outputError(difference(weights, result.dequantized()), hessian: moments)
        }
        let nearest = try error(HessianFactor(roundingToNearest: factor.importance), dynamic: false)
        #expect(try error(factor, dynamic: false) < 0.75 * nearest)
        #expect(try error(factor, dynamic: true) < 0.75 * nearest)
    }

    /// Sweeps of coordinate descent never raise the error in the metric they descend in, lower it for every grid, and leave
    /// values that a file can hold.
    @Test(arguments: BlockGrid.allCases)
    func sweepsLowerTheOutputError(grid: BlockGrid) throws {
        try checkSweeps([GridPart(columns: 0..<512, grid: grid)], dynamic: true, gain: grid == .q8_0 ? 0.999 : 0.99)
    }

    /// Scales of whole rows, two precisions under one Hessian, and a group that does not divide the columns.
    @Test(arguments: [0, 40]) func sweepsLowerTheErrorOfIntegerGrids(group: Int) throws {
        let granularity: IntegerGrid.Granularity = group == 0 ? .row : .group(group)
        let parts = try [(0..<448, 4), (448..<512, 8)].map { columns, bits in
            GridPart(columns: columns, grid: try IntegerGrid(bits: bits, isSymmetric: bits == 8, granularity: granularity, scaleType: .float16))
        }
        try checkSweeps(parts, dynamic: false, gain: 0.99)
    }

    private func checkSweeps(_ parts: [GridPart], dynamic: Bool, gain: Double) throws {
        let n = 512
        let weights = normalMatrix(rowCount: 150, columnCount: n, seed: 11)
        let moments = correlatedMoments(order: n, rowCount: 700, seed: 12)
        let factor = try HessianFactor(moments, keepsMatrix: true)
        let metric = try #require(factor.matrix).converted(to: Double.self)
        var errors: [Double] = []
        for sweeps in [0, 1, 2, 4] {
            let result = try round(weights, to: parts, factor: factor, dynamicGroups: dynamic, sweeps: sweeps, threadCount: 2)
            errors.append(outputError(difference(weights, result.dequantized()), hessian: metric))
            for part in result.parts {
                #expect(part.superScales.allSatisfy { Float(Float16($0)) == $0 })
                #expect(part.superOffsets.allSatisfy { Float(Float16($0)) == $0 })
                guard let grid = part.grid as? BlockGrid else { continue }
                let range = levels(of: grid)
                #expect(result.levels.allSatisfy { range.contains(Int($0)) })
            }
        }
        #expect(errors[1] < gain * errors[0], "\(errors)")
        #expect(zip(errors, errors.dropFirst()).allSatisfy { $1 <= 1.00001 * $0 }, "\(errors)")
    }

    /// The loss reported is the error in the metric of the damped Hessian.
    @Test func lossIsTheDampedOutputError() throws {
        let n = 200
        let weights = normalMatrix(rowCount: 9, columnCount: n, seed: 3)
        var moments = correlatedMoments(order: n, rowCount: 300, seed: 9)
        let grid = try IntegerGrid(bits: 3)
        let result = try round(
            weights, to: [GridPart(columns: 0..<n, grid: grid)], factor: HessianFactor(moments), dynamicGroups: false, threadCount: 1)
        let mean = (0..<n).reduce(0) { $0 + moments[$1, $1] } / Double(n)
        for index in 0..<n { moments[index, index] += 0.01 * mean }
        let expected = outputError(difference(weights, result.dequantized()), hessian: moments)
        #expect(abs(result.loss - expected) < 1e-3 * expected)
    }

    @Test func theResultDoesNotDependOnTheThreads() throws {
        let n = 320
        let weights = normalMatrix(rowCount: 300, columnCount: n, seed: 3)
        let factor = try HessianFactor(correlatedMoments(order: n, rowCount: 400, seed: 9))
        let parts = [
            GridPart(columns: 0..<256, grid: BlockGrid.q4_K), GridPart(columns: 256..<n, grid: BlockGrid.q8_0),
        ]
        let results = try [1, 2, 3].map { try round(weights, to: parts, factor: factor, dynamicGroups: true, threadCount: $0) }
        #expect(results[0].levels == results[1].levels && results[0].levels == results[2].levels)
        #expect(results[0].parts[0].superScales == results[2].parts[0].superScales)
    }

    /// Weights that lie on the grid stay as they are, whatever the Hessian.
    @Test func weightsOnTheGridAreKept() throws {
        let n = 64
        var generator = SeededGenerator(seed: 2)
        // Every row holds the extremes, so that its scale is 1/8 exactly.
        let elements = (0..<16 * n).map { index in index % n == 0 ? Float(0.875) : Float(Int(generator.next() % 15) - 7) / 8 }
        let weights = Matrix<Float>(rowCount: 16, columnCount: n, elements: elements)
        let factor = try HessianFactor(correlatedMoments(order: n, rowCount: 100, seed: 1))
        let grid = try IntegerGrid(bits: 4, clipSearch: .none)
        let result = try round(weights, to: [GridPart(columns: 0..<n, grid: grid)], factor: factor, dynamicGroups: false, threadCount: 1)
        #expect(result.dequantized() == weights)
        #expect(result.loss == 0)
    }
}

@Suite struct HessianTests {
    let fixture = MethodFixture.shared
    private var parts: [GridPart] { get throws { [GridPart(columns: 0..<fixture.columns, grid: try IntegerGrid(bits: 4))] } }

    @Test func anEmptyHessianRoundsToNearest() throws {
        let factor = try HessianFactor(Matrix(rowCount: fixture.columns, columnCount: fixture.columns))
        #expect(factor.warnings == [.emptyHessian])
        let nearest = HessianFactor(roundingToNearest: Array(repeating: 1, count: fixture.columns))
        let result = try round(fixture.weightMatrix, to: parts, factor: factor, dynamicGroups: false, threadCount: 1)
        let expected = try round(fixture.weightMatrix, to: parts, factor: nearest, dynamicGroups: false, threadCount: 1)
        #expect(result.levels == expected.levels)
        #expect(result.warnings == [.emptyHessian])
    }

    /// One token, far fewer than columns; and none of damping's help from the caller.
    @Test(arguments: [0, 0.01])
    func aRankDeficientHessianIsDamped(fraction: Double) throws {
        let x = normalMatrix(rowCount: 1, columnCount: fixture.columns, seed: 1).converted(to: Double.self)
        let factor = try HessianFactor(.product(x, x, transposeA: true), damping: Damping(fraction: fraction))
        #expect(factor.upper != nil)
        #expect(fraction > 0 ? factor.warnings.isEmpty : factor.warnings.count == 1)
        let result = try round(fixture.weightMatrix, to: parts, factor: factor, dynamicGroups: false, threadCount: 1)
        #expect(result.dequantized().elements.allSatisfy { $0.isFinite })
    }

    /// The damping is a fraction of the mean with the dead columns in it, and no more than was asked for.
    @Test func manyDeadColumnsAreNoReasonToDampMore() throws {
        var moments = correlatedMoments(order: 16, rowCount: 80, seed: 2)
        for column in 0..<12 { for other in 0..<16 { (moments[column, other], moments[other, column]) = (0, 0) } }
        #expect(try HessianFactor(moments).warnings == [.deadColumns(12)])
    }

    @Test func deadColumnsAreRoundedToNearest() throws {
        var hessian = fixture.hessianMatrix
        for other in 0..<fixture.columns { (hessian[3, other], hessian[other, 3]) = (0, 0) }
        let factor = try HessianFactor(hessian)
        #expect(factor.warnings == [.deadColumns(1)])
        let result = try round(fixture.weightMatrix, to: parts, factor: factor, dynamicGroups: false, threadCount: 1)
        for row in 0..<fixture.rows {
            let scale = result.parts[0].scale(row: row, group: 0)
            let expected = (fixture.weightMatrix[row, 3] / scale).rounded(.toNearestOrEven)
            #expect(Float(result.levels[row * fixture.columns + 3]) == min(max(expected, -8), 7))
        }
    }

    @Test func anIndefiniteHessianRoundsToNearest() throws {
        var hessian = fixture.hessianMatrix
        hessian[0, 1] = 1e9
        hessian[1, 0] = 1e9
        let factor = try HessianFactor(hessian)
        #expect(factor.upper == nil && factor.warnings == [.indefiniteHessian])
    }

    @Test func whatIsNotFiniteIsNamed() throws {
        var hessian = fixture.hessianMatrix
        hessian[4, 4] = .infinity
        #expect(throws: ResQError.linearAlgebra(.notFinite(row: 4, column: 4))) { try HessianFactor(hessian) }
        var weights = fixture.weightMatrix
        weights[2, 5] = .nan
        let factor = try HessianFactor(fixture.hessianMatrix)
        #expect(throws: ResQError.notFinite(row: 2, column: 5)) {
            try round(weights, to: parts, factor: factor, dynamicGroups: false, threadCount: 1)
        }
    }

    /// Scales are stored in F16: no weight may be larger than its largest number.
    @Test func whatScalesCannotHoldIsNamed() throws {
        var weights = fixture.weightMatrix
        weights[2, 5] = -1.8e38
        let factor = try HessianFactor(fixture.hessianMatrix)
        let grids: [any Grid] = [BlockGrid.q4_0, try IntegerGrid(bits: 4, scaleType: .float16)]
        for grid in grids {
            #expect(throws: ResQError.tooLarge(row: 2, column: 5)) {
                try round(weights, to: [GridPart(columns: 0..<32, grid: grid)], factor: factor, dynamicGroups: false, threadCount: 1)
            }
        }
    }

    /// Numbers so small that steps between them are hardly numbers: zero points stay among the codes.
    @Test(arguments: [Float(1e-45), 5e-43, 1e-39]) func subnormalWeightsHaveZeroPointsToo(size: Float) throws {
        var weights = Matrix<Float>(rowCount: 4, columnCount: 32)
        for row in 0..<4 { weights[row, 7] = -size * Float(row) }
        let grid = try IntegerGrid(bits: 8, isSymmetric: false, scaleType: .float16)
        let rounded = try round(
            weights, to: [GridPart(columns: 0..<32, grid: grid)], factor: HessianFactor(fixture.hessianMatrix), dynamicGroups: false, threadCount: 1)
        #expect(rounded.parts[0].lows.allSatisfy { (-255...0).contains($0) })
    }

    @Test func partsMustCoverTheColumns() throws {
        let factor = try HessianFactor(fixture.hessianMatrix)
        let grid = try IntegerGrid(bits: 4)
        #expect(throws: ResQError.partsDoNotCover(columnCount: 32)) {
            try round(fixture.weightMatrix, to: [GridPart(columns: 0..<16, grid: grid)], factor: factor, dynamicGroups: false, threadCount: 1)
        }
        #expect(throws: ResQError.incompleteBlock(columnCount: 32, blockWidth: 256)) {
            try round(fixture.weightMatrix, to: [GridPart(columns: 0..<32, grid: BlockGrid.q4_K)], factor: factor, dynamicGroups: false, threadCount: 1)
        }
        #expect(throws: ResQError.bitsOutOfRange(9)) { try IntegerGrid(bits: 9) }
    }
}

@Suite struct ScaleTypeTests {
    @Test func halvesAreThoseOfTheHardware() {
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<20_000 {
            let value = Float(generator.nextGaussian()) * Float(sign: .plus, exponent: Int(generator.next() % 40) - 28, significand: 1)
            let expected = Float(Float16(value))
            #expect(ScaleType.float16.rounded(value) == (expected.isFinite ? expected : value < 0 ? -65504 : 65504))
        }
        #expect(ScaleType.float16.rounded(1e9) == 65504)
        #expect(ScaleType.bfloat16.rounded(1.00390625) == 1)
        #expect(ScaleType.bfloat16.rounded(1.01171875) == 1.015625)
        #expect(ScaleType.float32.rounded(0.1) == 0.1)
    }
}
