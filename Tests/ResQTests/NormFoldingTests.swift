import ResQ
import Testing

@Suite struct NormFoldingTests {
    /// W (g ∘ n) and (W diag(g)) n, both summed in Double: what folding must not change.
    @Test func foldingTheGainLeavesTheOutputUnchanged() {
        let gain: [Float] = [0.5, -2, 1.25, 0]
        let activation: [Float] = [3, 1, -4, 7]
        let weight: [Float] = [1, 2, 3, 4, -1, 0.5, 8, 2, 0.25, -3, 1, 1]
        var folded = weight
        var span = folded.mutableSpan
        foldNormGain(into: &span, gain: gain.span)
        for row in 0..<3 {
            var before = 0.0, after = 0.0
            for column in 0..<4 {
                before += Double(weight[row * 4 + column]) * Double(gain[column]) * Double(activation[column])
                after += Double(folded[row * 4 + column]) * Double(activation[column])
            }
            #expect(before == after)
        }
    }
}

@Suite struct LowRankUpdateTests {
    @Test func addsTheScaledProduct() {
        var weight: [Float] = [1, 1, 1, 2, 2, 2]
        let left: [Float] = [1, 2, 0, -1]
        let right: [Float] = [1, 0, 3, 4, 5, 6]
        var span = weight.mutableSpan
        addLowRankProduct(to: &span, left: left.span, right: right.span, rank: 2, columnCount: 3, scale: 0.5)
        let expected: [Float] = [5.5, 6, 8.5, 0, -0.5, -1]
        #expect(weight == expected)
    }
}
