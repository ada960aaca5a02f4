/// The row kernels of the forward pass in scalar Swift: the same operations in the same order, sixteen lanes and all, so
/// that results must be equal to the bit on every processor.
enum KernelTwins {
    static let laneCount = 16

    static func exponential(_ v: Float) -> Float {
        var x = v > -87 ? v : -87
        x = x < 88 ? x : 88
        let shifted = x * 1.44269504 + 12582912
        let n = shifted - 12582912
        var r = x - n * 0.693145752
        r = r - n * 1.42860677e-6
        var p = r * 1.98412698e-4 + 1.38888889e-3
        p = p * r + 8.33333333e-3
        p = p * r + 4.16666667e-2
        p = p * r + 1.66666667e-1
        p = p * r + 0.5
        p = p * (r * r) + r + 1
        return p * Float(bitPattern: UInt32(bitPattern: (Int32(bitPattern: shifted.bitPattern) &- 0x4b40_0000 &+ 127) &<< 23))
    }

    static func tangent(_ y: Float) -> Float {
        let square = y * y
        guard square < 0.01 else { return 1 - 2 / (exponential(y + y) + 1) }
        return y * (1 + square * (-0.333333333 + square * (0.133333333 - 0.0539682540 * square)))
    }

    /// The sum of values that were added up in lanes.
    static func sum(_ values: [Float]) -> Float {
        var lanes = [Float](repeating: 0, count: laneCount)
        for (index, value) in values.enumerated() { lanes[index % laneCount] += value }
        var eight = (0..<8).map { lanes[$0] + lanes[$0 + 8] }
        for lane in 0..<4 { eight[lane] += eight[lane + 4] }
        return (eight[0] + eight[2]) + (eight[1] + eight[3])
    }

    static func largest(_ values: [Float]) -> Float {
        var lanes = [Float](repeating: -.infinity, count: laneCount)
        for (index, value) in values.enumerated() { lanes[index % laneCount] = lanes[index % laneCount] > value ? lanes[index % laneCount] : value }
        return lanes.dropFirst().reduce(lanes[0]) { $1 > $0 ? $1 : $0 }
    }

    static func rootMeanSquareNorm(_ x: [Float], gain: [Float], epsilon: Float) -> [Float] {
        let factor = 1 / (sum(x.map { $0 * $0 }) / Float(x.count) + epsilon).squareRoot()
        return zip(x, gain).map { ($0 * factor) * $1 }
    }

    static func softmax(_ x: [Float], scale: Float, cap: Float) -> [Float] {
        let scores = x.map { softCap($0 * scale, cap) }
        let top = largest(scores)
        let weights = scores.map { weight($0 - top) }
        let factor = 1 / sum(weights)
        return weights.map { $0 * factor }
    }

    private static func weight(_ d: Float) -> Float { d > -87 ? exponential(d) : d.isNaN ? d : 0 }

    static func softCap(_ v: Float, _ cap: Float) -> Float {
        guard cap > 0, !v.isNaN else { return v }
        return tangent(v / cap) * cap
    }

    static func siluTimes(_ g: Float, _ u: Float) -> Float { g.isNaN ? g * u : g / (1 + exponential(-g)) * u }

    static func geluTimes(_ g: Float, _ u: Float) -> Float {
        guard !g.isNaN else { return g * u }
        let t = tangent(0.797884561 * (g + 0.044715 * g * g * g))
        return 0.5 * g * (1 + t) * u
    }

    static func logSum(_ x: [Float], logarithm: (Double) -> Double) -> Double {
        let top = largest(x)
        let total = stride(from: 0, to: x.count, by: 4096).reduce(0.0) { total, start in
            total + Double(sum(x[start..<min(x.count, start + 4096)].map { weight($0 - top) }))
        }
        return Double(top) + logarithm(total)
    }

    static func divergence(_ x: [Float], _ y: [Float], _ logSumX: Double, _ logSumY: Double) -> (Double, Double) {
        let (shift, base) = (Float(logSumY - logSumX), Float(logSumX))
        var (total, squares) = (0.0, 0.0)
        for start in stride(from: 0, to: x.count, by: 1024) {
            let run = start..<min(x.count, start + 1024)
            total += Double(sum(run.map { x[$0] > -3e38 ? exponential(x[$0] - base) * (x[$0] - y[$0] + shift) : 0 }))
            squares += Double(sum(run.map { x[$0] > -3e38 ? (x[$0] - y[$0]) * (x[$0] - y[$0]) : 0 }))
        }
        return (total, squares)
    }
}
