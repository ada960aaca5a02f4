import Formats

/// What a run would write, known without reading tensor data.
public struct Plan: Sendable {
    public struct Tensor: Sendable {
        /// The name in the output.
        public var name: String
        public var encoding: Encoding
        public var shape: [Int]
        public var byteCount: Int
        /// The last pass or rule that shaped it, or `as it was`.
        public var rule: String
        /// How `.gguf.zst` will store it, when that was sampled.
        public var compression: String?
    }

    public var tensors: [Tensor]
    /// Bytes of all output files before compression.
    public var totalByteCount: Int
    /// Average stored bits per weight of the model; headers are left out, and what is kept beside weights counts as bits alone.
    public var bitsPerWeight: Double
    /// An upper estimate of anonymous memory.
    public var peakMemoryByteCount: Int
    /// What a recipe that calibrates is expected to take; `nil` for others.
    public var cost: Cost?
    public var diagnostics: [Diagnostic]

    /// Time of a processor like the one the rates of `OperationKind` were measured on.
    public struct Cost: Sendable {
        /// CPU-seconds of all stages.
        public var cpuSeconds: Double
        /// CPU-seconds of each stage, in order: the analyses, then writing.
        public var stages: [(name: String, cpuSeconds: Double)]
        /// Tokens of the calibration.
        public var calibrationTokenCount: Int
    }
}

extension Plan {
    init(_ export: Export, threadCount: Int, diagnostics: [Diagnostic]) {
        tensors = export.tensors.map { tensor in
            Tensor(
                name: tensor.info.name, encoding: tensor.info.encoding, shape: tensor.info.shape,
                byteCount: tensor.info.byteCount, rule: tensor.history.last ?? "as it was")
        }
        totalByteCount = export.layout.byteCount
        let elementCount = export.tensors.reduce(0) { $0 + $1.weightCount }
        let bits = Double(tensors.reduce(0) { $0 + $1.byteCount }) * 8
        bitsPerWeight = elementCount > 0 ? bits / Double(elementCount) : 0
        peakMemoryByteCount = Plan.peakMemory(of: export, threadCount: threadCount)
        self.diagnostics = diagnostics
    }

    /// Each thread holds one piece and the floats it is made from; headers are held twice (built, and encoded).
    private static func peakMemory(of export: Export, threadCount: Int) -> Int {
        let program = 24 << 20
        let headers = export.layout.files.reduce(0) { $0 + $1.header.count }
        let largestRow = export.tensors.map { $0.info.columnCount * 4 }.max() ?? 0
        let held = export.tensors.map(\.heldByteCount).max() ?? 0
        let piece = ArtifactWriter.pieceByteCount + 4 * max(scratchElementCount * 4, largestRow) + held
        return program + 2 * headers + threadCount * piece
    }
}

extension LazyTensor {
    /// Bytes of the largest step of a plugin that is held whole on the way to this tensor.
    fileprivate var heldByteCount: Int {
        let own = (operation as? PluginTensor)?.step.byteCount ?? 0
        return operation.inputs.reduce(own) { max($0, $1.heldByteCount) }
    }
}

extension CompressionChoice {
    /// `stored`, or the level and the share of the bytes that the sample kept.
    var summary: String { isStored ? "stored" : "level \(level), \(Int((sampledRatio * 100).rounded())) %" }
}
