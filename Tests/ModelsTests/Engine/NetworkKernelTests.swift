import CKernels
import Foundation
import Testing

/// The row kernels against their scalar twins, to the bit, and against their definitions in `Double`.
@Suite struct NetworkKernelTests {
    /// Below a vector, whole vectors, tails of all kinds, more than one run of 1024 and of 4096.
    static let counts = [1, 2, 15, 16, 17, 31, 32, 64, 100, 576, 1023, 1025, 4097, 9001]

    private func vector(_ count: Int, seed: UInt64, spread: Float = 4) -> [Float] {
        var state = seed
        return (0..<count).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let unit = Float(state >> 40) / Float(1 << 23) - 1
            // Mostly small, some large.
            return unit * unit * unit * spread
        }
    }

    private func bits(_ values: [Float]) -> [UInt32] { values.map { $0.isNaN ? Float.nan.bitPattern : $0.bitPattern } }

    private func largestError(_ values: [Float], _ exact: [Double], relativeTo floor: Double) -> Double {
        zip(values, exact).map { abs(Double($0) - $1) / max(abs($1), floor) }.max() ?? 0
    }

    private func softmax(_ x: [Float], scale: Float, cap: Float) -> [Float] {
        var x = x
        // The array has `count` elements, as in all calls below.
        unsafe resq_softmax(&x, x.count, scale, cap)
        return x
    }

    @Test(arguments: counts) func rootMeanSquareNorm(count: Int) {
        let (x, gain) = (vector(count, seed: 1), vector(count, seed: 2))
        var out = [Float](repeating: 7, count: count)
        unsafe resq_rms_norm(x, gain, 1e-5, &out, count)
        #expect(bits(out) == bits(KernelTwins.rootMeanSquareNorm(x, gain: gain, epsilon: 1e-5)))
        let mean = x.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(count)
        let exact = zip(x, gain).map { Double($0) / (mean + Double(Float(1e-5))).squareRoot() * Double($1) }
        #expect(largestError(out, exact, relativeTo: 1e-30) < 1e-6)
        // In place, as heads are normalised.
        var inPlace = x
        unsafe inPlace.withUnsafeMutableBufferPointer { rows in unsafe resq_rms_norm(rows.baseAddress!, gain, 1e-5, rows.baseAddress!, count) }
        #expect(bits(inPlace) == bits(out))
    }

    @Test(arguments: counts, [Float(0), 3]) func softmaxOfScores(count: Int, cap: Float) {
        let x = vector(count, seed: 3, spread: 60)
        let result = softmax(x, scale: 0.3, cap: cap)
        #expect(bits(result) == bits(KernelTwins.softmax(x, scale: 0.3, cap: cap)))
        let scores = x.map { score in
            let scaled = Double(score) * Double(Float(0.3))
            return cap > 0 ? Double(cap) * tanh(scaled / Double(cap)) : scaled
        }
        let top = scores.max() ?? 0
        let total = scores.reduce(0) { $0 + exp($1 - top) }
        let exact = scores.map { exp($0 - top) / total }
        #expect(largestError(result, exact, relativeTo: 1e-3) < 4e-6)
        let sum = result.reduce(0.0) { $0 + Double($1) }
        #expect(abs(sum - 1) < 1e-6)
    }

    @Test(arguments: [Float(0), 3]) func softmaxAtTheEdges(cap: Float) {
        // A score far below the others, or minus infinity, has no weight.
        #expect(softmax([0, -1e30, 0], scale: 1, cap: 0) == [0.5, 0, 0.5])
        let third: Float = 1 / 3
        #expect(softmax([0, -.infinity, 0, 0], scale: 1, cap: 0) == [third, 0, third, third])
        #expect(softmax([5], scale: 1, cap: cap) == [1])
        #expect(softmax([], scale: 1, cap: cap) == [])
        // Not-a-number is not lost, wherever it stands.
        for count in [1, 3, 16, 40] {
            for place in [0, count / 2, count - 1] {
                var x = vector(count, seed: 4)
                x[place] = .nan
                let result = softmax(x, scale: 1, cap: cap)
                #expect(result.allSatisfy { $0.isNaN })
            }
        }
        let infinite = softmax([1, .infinity], scale: 1, cap: 0)
        #expect(infinite.contains { $0.isNaN })
    }

    @Test(arguments: counts) func gates(count: Int) {
        let (gate, up) = (vector(count, seed: 5, spread: 30), vector(count, seed: 6))
        var (silu, gelu) = (gate, gate)
        unsafe resq_silu_times(&silu, up, count)
        unsafe resq_gelu_times(&gelu, up, count)
        #expect(bits(silu) == bits(zip(gate, up).map { KernelTwins.siluTimes($0, $1) }))
        #expect(bits(gelu) == bits(zip(gate, up).map { KernelTwins.geluTimes($0, $1) }))
        let pairs = zip(gate, up).map { (Double($0), Double($1)) }
        /// The largest error of factors between 0 and 1 that gate · up is multiplied by.
        func factorError(_ values: [Float], _ factor: (Double) -> Double) -> Double {
            zip(values, pairs).map { value, pair in abs(Double(value) / (pair.0 * pair.1) - factor(pair.0)) }.max() ?? 0
        }
        #expect(factorError(silu) { 1 / (1 + exp(-$0)) } < 3e-7)
        let root = (2 / Double.pi).squareRoot()
        #expect(factorError(gelu) { 0.5 * (1 + tanh(root * ($0 + 0.044715 * $0 * $0 * $0))) } < 3e-7)
    }

    @Test func gatesAtTheEdges() {
        let gate: [Float] = [.nan, .infinity, 200, -200, 0, -0.0, 1e-30, 3e38, -3e38], up = [Float](repeating: 1, count: 9)
        var (silu, gelu) = (gate, gate)
        unsafe resq_silu_times(&silu, up, gate.count)
        unsafe resq_gelu_times(&gelu, up, gate.count)
        for out in [silu, gelu] {
            #expect(out[0].isNaN)
            #expect(Array(out[1...2]) == [.infinity, 200])
            #expect(abs(out[3]) < 1e-30)
            #expect(Array(out[4...7]) == [0, 0, 5e-31, 3e38])
        }
        #expect(abs(silu[8]) < 10 && abs(gelu[8]) == 0)
    }

    @Test(arguments: counts) func softCap(count: Int) {
        let x = vector(count, seed: 7, spread: 90)
        var capped = x
        unsafe resq_soft_cap(&capped, count, 30)
        #expect(bits(capped) == bits(x.map { KernelTwins.softCap($0, 30) }))
        #expect(largestError(capped, x.map { 30 * tanh(Double($0) / 30) }, relativeTo: 1) < 1e-5)
        var edges: [Float] = [.nan, .infinity, -.infinity, 0, 1e-20]
        unsafe resq_soft_cap(&edges, edges.count, 30)
        #expect(edges[0].isNaN)
        #expect(Array(edges[1...3]) == [30, -30, 0])
        #expect(abs(edges[4] / 1e-20 - 1) < 1e-6)
    }

    @Test(arguments: counts) func logSumExp(count: Int) {
        let x = vector(count, seed: 8, spread: 25)
        var (largest, index, logSum): (Float, Int, Double) = (0, -1, 0)
        unsafe resq_log_sum_exp(x, count, &largest, &index, &logSum)
        #expect(largest == x.max() && index == x.firstIndex(of: largest))
        #expect(logSum == KernelTwins.logSum(x) { log($0) })
        let exact = Double(largest) + log(x.reduce(0.0) { $0 + exp(Double($1) - Double(largest)) })
        #expect(abs(logSum - exact) < 1e-6)
        // The first of equal ones, and not-a-number is not lost.
        let flat = [Float](repeating: 2, count: count)
        unsafe resq_log_sum_exp(flat, count, &largest, &index, &logSum)
        #expect(index == 0 && abs(logSum - (2 + log(Double(count)))) < 1e-6)
        for place in [0, count / 2, count - 1] {
            var spoiled = x
            spoiled[place] = .nan
            unsafe resq_log_sum_exp(spoiled, count, &largest, &index, &logSum)
            #expect(logSum.isNaN)
        }
    }

    @Test(arguments: counts) func divergence(count: Int) {
        let x = vector(count, seed: 9, spread: 20)
        let y = zip(x, vector(count, seed: 10, spread: 0.5)).map { $0 + $1 }
        func logSum(_ values: [Float]) -> Double { log(values.reduce(0.0) { $0 + exp(Double($1)) }) }
        let (sumX, sumY) = (logSum(x), logSum(y))
        var (divergence, squares): (Double, Double) = (0, 0)
        unsafe resq_divergence(x, y, count, sumX, sumY, &divergence, &squares)
        let twin = KernelTwins.divergence(x, y, sumX, sumY)
        #expect(divergence == twin.0 && squares == twin.1)
        let exact = zip(x, y).reduce(0.0) { sum, pair in
            sum + exp(Double(pair.0) - sumX) * ((Double(pair.0) - sumX) - (Double(pair.1) - sumY))
        }
        #expect(abs(divergence - exact) < 2e-6)
        let differences: [Double] = zip(x, y).map { Double($0) - Double($1) }
        let exactSquares = differences.reduce(0.0) { $0 + $1 * $1 }
        #expect(abs(squares - exactSquares) <= 1e-6 * exactSquares)
        // A distribution is not away from itself.
        unsafe resq_divergence(x, x, count, sumX, sumX, &divergence, &squares)
        #expect(divergence == 0 && squares == 0)
    }

    @Test(arguments: [(1, 1), (3, 4), (2, 8), (5, 15), (1, 64), (9, 33)]) func rotation(heads: Int, half: Int) {
        // Heads are longer than what turns.
        let stride = 2 * half + 3
        let x = vector(heads * stride, seed: 11)
        let angles = vector(half, seed: 12)
        let (cosines, sines) = (angles.map { cos($0) }, angles.map { sin($0) })
        var turned = x
        unsafe resq_rotate_pairs(&turned, heads, stride, half, cosines, sines)
        var expected = x
        for head in 0..<heads {
            for pair in 0..<half {
                let (a, b) = (x[head * stride + pair], x[head * stride + half + pair])
                expected[head * stride + pair] = a * cosines[pair] - b * sines[pair]
                expected[head * stride + half + pair] = b * cosines[pair] + a * sines[pair]
            }
        }
        #expect(bits(turned) == bits(expected))
    }

    @Test(arguments: counts) func columnStatistics(count: Int) {
        let rows = [vector(count, seed: 13), vector(count, seed: 14)]
        var (largest, sums) = ([Float](repeating: 0, count: count), [Double](repeating: 0, count: count))
        for row in rows { unsafe resq_column_statistics(row, &largest, &sums, count) }
        #expect(largest == (0..<count).map { max(abs(rows[0][$0]), abs(rows[1][$0])) })
        #expect(sums == (0..<count).map { Double(rows[0][$0]) + Double(rows[1][$0]) })
    }
}
