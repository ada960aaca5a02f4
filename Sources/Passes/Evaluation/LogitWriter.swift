import Formats
import Models
import Synchronization

/// Writes the logits that an evaluation meets as `SavedLogits`, in zstd frames, one for each run of rows.
///
/// The frames are asked for in order and the batches are run as they come to need them, so memory holds the logits of some
/// rows. Codes hardly repeat and the lower bytes are noise: a higher level than 1 gains nothing.
struct LogitWriter {
    let scoring: WindowScoring
    let path: String
    let modelName: String
    let inputs: HashedInputs
    let threadCount: Int

    /// - Parameter isContinuation: whether what an earlier run left at `path` is of this very evaluation.
    func write(isContinuation: Bool, keepsPart: Bool) throws {
        let evaluation = scoring.evaluation
        let shape = SavedLogits.Shape(
            protocolName: evaluation.protocolName, context: evaluation.context, windowCount: evaluation.windows.count,
            vocabulary: evaluation.vocabulary)
        var metadata = shape.metadata(modelName: modelName)
        metadata["resq.version"] = .string(toolVersion)
        let record = Provenance(recipe: "", recipeName: "", files: inputs.files, digests: inputs.digests)
        let key = "resq.inputs"
        metadata[key] = record.entries.first { $0.key == key }.map { .string($0.value) }
        if isContinuation, try isThere(evaluation, metadata) { return }

        let file = try GGUF.layout(tensors: try shape.tensors(), metadata: metadata).files[0]
        let pieces = file.framePieces(frameByteCount: 128 << 20)
        let identities = try inputs.files.map { try MappedFile(path: $0.path).identity }
        let part = try Output.creating(path) { () throws(FormatError) in
            try OutputFile(
                path: path, byteCount: nil, expectedByteCount: GGUFZst.maxByteCount(of: pieces), resume: isContinuation,
                keepsPart: keepsPart, inputs: identities)
        }
        let source = Mutex(LogitSource(scoring: scoring, shape: shape))
        try GGUFZst.write(
            file, pieces: pieces, to: part, threadCount: threadCount,
            didWrite: { index in if let tensor = pieces[index].tensor { source.withLock { $0.didWrite(file.tensors[tensor].index) } } }
        ) { piece in
            let bytes = try source.withLock { try $0.bytes(ofTensor: file.tensors[piece.tensor!].index) }
            return GGUFZst.FrameContent(bytes: bytes[piece.range], level: 1)
        }
        try source.withLock { try $0.finish() }
        try part.finish()
    }

    /// Whether the finished file of an earlier run has its name already.
    private func isThere(_ evaluation: Evaluation, _ metadata: GGUFMetadata) throws -> Bool {
        guard let found = try? openTensorSource(at: path), case .gguf(let written) = found.manifest.metadata,
            let saved = try? SavedLogits(found, path: path)
        else { return false }
        return written.keys == metadata.keys && written.keys.allSatisfy { written[$0] == metadata[$0] }
            && (try? saved.check(evaluation)) != nil
    }
}

/// The tensors of saved logits, made in the order of the file.
private struct LogitSource: Sendable {
    let scoring: WindowScoring
    let shape: SavedLogits.Shape
    private var batch: WindowScoring.OpenBatch?
    /// Tensors that were computed and not yet written.
    private var ready: [Int: TensorBytes] = [:]
    private var lastWritten = -1
    /// The largest logits of the window that is being judged.
    private var tops: [UInt8] = []

    init(scoring: WindowScoring, shape: SavedLogits.Shape) {
        self.scoring = scoring
        self.shape = shape
    }

    mutating func didWrite(_ tensor: Int) {
        lastWritten = max(lastWritten, tensor)
        ready[tensor] = nil
    }

    mutating func bytes(ofTensor tensor: Int) throws -> TensorBytes {
        let windows = scoring.evaluation.windows
        if tensor == 0 {
            var tokens: [UInt8] = []
            tokens.reserveCapacity(4 * windows.count * shape.context)
            for window in windows { for id in window { tokens.append(Int32(id)) } }
            return TensorBytes(tokens)
        }
        let window = (tensor - 1) / (shape.runsPerWindow + 1)
        while true {
            if let bytes = ready[tensor] { return bytes }
            if batch == nil { batch = try scoring.open(scoring.evaluation.batches.first { $0.contains(window) }!) }
            try step()
        }
    }

    /// Judges some rows and keeps what the file still needs of them.
    private mutating func step() throws {
        guard let rows = try batch!.next() else {
            try scoring.close(batch!)
            batch = nil
            return
        }
        if rows.first == 0 { tops = [] }
        let first = shape.place(ofRun: shape.run(ofRow: rows.first), window: rows.window)
        for (index, run) in batch!.rows.codedRuns(of: rows).enumerated() {
            if first + index > lastWritten { ready[first + index] = TensorBytes(run.codes) }
            for top in run.tops { tops.append(top.bitPattern) }
        }
        if tops.count == 4 * shape.judgedRowCount { ready[shape.placeOfTops(window: rows.window)] = TensorBytes(tops) }
    }

    /// Ends the last batch.
    mutating func finish() throws {
        while batch != nil { try step() }
    }
}
