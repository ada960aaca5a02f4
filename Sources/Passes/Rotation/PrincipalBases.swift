import Formats
import LinearAlgebra
import Models

extension TensorGraph {
    /// The bases that a calibration of this graph gives, found when the run begins.
    ///
    /// - Parameters:
    ///   - weighsWeights: whether directions count by the weights that read them as well.
    ///   - isPerLayer: whether each layer has a basis of its own for the residual stream.
    /// - Throws: what keeps the model from being calibrated.
    func principalBases(
        _ parts: RotationParts, weighsWeights: Bool, isPerLayer: Bool, pass: String, in context: PassContext
    ) throws -> any RotationBases {
        let calibration = try context.calibrationSource(for: pass)
        let model = try described(for: pass)
        let numbers = model.hyperparameters
        let graph = self
        let summary = "principal directions\(isPerLayer ? " of each layer" : "")\(weighsWeights ? ", weighed with the weights" : "") of \(calibration.summary)"
        // The sum of the stream's moments, those of two inputs and the eigensolver's copies; some thousand tokens on their way.
        let activations = LayerStream.tokensAtOnce(hidden: numbers.hidden) * 4 * 8 * numbers.hidden
        let peak = 8 * 8 * numbers.hidden * numbers.hidden + activations + 2 * LayerStream.memoryBudget
        if parts.contains(.residual), calibration.tokenCount < numbers.hidden {
            context.report(
                .warning,
                "the calibration has \(calibration.tokenCount) tokens for a residual stream of \(numbers.hidden): more sequences make better bases")
        }
        let work = walkWork(tokens: calibration.tokenCount, context: calibration.context)
            + basesWork(tokens: calibration.tokenCount, parts: parts, weighsWeights: weighsWeights, isPerLayer: isPerLayer)
        let analysis = Analysis<GivenBases>(summary, peakMemoryByteCount: peak, work: work) { run in
            let windows = try calibration.windows(in: run)
            let folder = try run.folder(
                for: "bases", key: [windows.digest, Digest(of: graph.chain), Digest(of: summary), Digest(of: "\(parts.rawValue)")])
            let path = try PrincipalBasesRun(
                graph: graph, windows: windows, parts: parts, weighsWeights: weighsWeights, isPerLayer: isPerLayer, folder: folder,
                modelDigest: run.modelDigest, threadCount: run.threadCount
            ).run(progress: run.progress)
            return GivenBases(file: TensorFile(try openTensorSource(at: path), path: path), numbers: numbers, isOrthogonal: true)
        }
        context.perform(analysis)
        return AnalysedBases(analysis: analysis)
    }
}

/// Bases that an analysis finds.
struct AnalysedBases: RotationBases {
    let analysis: Analysis<GivenBases>

    var summary: String { analysis.summary }
    func residual(layer: Int?) throws -> Matrix<Double> { try analysis.result().residual(layer: layer) }
    func values(layer: Int) throws -> [Matrix<Double>] { try analysis.result().values(layer: layer) }
    func keys(layer: Int) throws -> Matrix<Double> { try analysis.result().keys(layer: layer) }
}
