import Formats
import ResQ

/// Rows multiplied by the gain of the norm that feeds them.
struct FoldGain: RowwiseOperation {
    var input: LazyTensor
    let gain: OnceFloats

    var summary: String { "fold gain of \(gain.tensor.info.name)" }
    var inputs: [LazyTensor] { [input, gain.tensor] }

    func change(_ rows: Range<Int>, _ values: inout MutableSpan<Float>) throws {
        let factors = try gain.values()
        foldNormGain(into: &values, gain: factors.span)
    }
}
