import Formats
import Foundation
import Models

/// Where a run's calibration sequences come from: what the recipe says, and the model as it was opened.
public struct CalibrationSource: Sendable {
    public let settings: Calibration
    /// The model's path, whose tokenizer turns the text into tokens.
    public let modelPath: String
    /// How many of the sequences are used; all when `nil`.
    private var limit: Int?
    /// The model before all passes, which writes the sequences when there is no text.
    private let graph: TensorGraph

    init(_ settings: Calibration, modelPath: String, graph: TensorGraph) {
        self.settings = settings
        self.modelPath = modelPath
        self.graph = graph
    }

    /// Tokens of one sequence: what the recipe says, but the default no longer than the model's context.
    public var context: Int {
        settings.context == Calibration.defaultContext ? min(settings.context, longestContext) : settings.context
    }

    /// How many sequences are used.
    public var sequenceCount: Int { min(limit ?? settings.sequences, settings.sequences) }

    /// Tokens of the sequences that are used.
    public var tokenCount: Int { sequenceCount * context }

    /// What it takes to have the sequences.
    var work: WorkEstimate { settings.text == nil ? graph.writingWork(tokens: tokenCount) : WorkEstimate() }

    /// One phrase that says which sequences these are.
    public var summary: String {
        let used = sequenceCount < settings.sequences ? "the first \(sequenceCount) of " : ""
        return "\(settings.text ?? "its own text"), \(used)\(settings.sequences) x \(context), seed \(settings.seed)"
    }

    private var longestContext: Int { graph.model?.hyperparameters[.context] ?? Int.max }

    private var isTokenFile: Bool { settings.text.map { $0.hasSuffix(".npy") || $0.hasSuffix(".safetensors") } ?? false }

    /// Finds out before any work is done what would stop the calibration.
    /// - Throws: `ModelError` for a model that does not run or has no tokenizer; `ForwardError.contextTooLong`;
    ///   `EvaluationError` for a text that is too short or has tokens that the model does not know.
    func check() throws {
        let network = try graph.network(weightBudget: 0, threadCount: 1)
        try network.checkContext(context)
        guard context > 1 else { throw EvaluationError(.windowTooShort(context: context)) }
        guard let text = settings.text else { return }
        if isTokenFile {
            let tokens = try TokenText(tokenFile: text)
            try tokens.check(vocabulary: network.model.hyperparameters.vocabulary)
            try check(tokenCount: tokens.ids.count, of: text)
        } else {
            let tokenizer = try Tokenizer(path: modelPath)
            try network.check(tokenizer, named: modelPath)
            // Only a short text can have too few tokens, and takes no time.
            if try MappedFile(path: text).byteCount <= 32 * context { try check(tokenCount: try tokenizer.tokens(ofFile: text).count, of: text) }
        }
    }

    private func check(tokenCount: Int, of text: String) throws(EvaluationError) {
        guard tokenCount >= context else { throw EvaluationError(.textTooShort(tokens: tokenCount, context: context), path: text) }
    }

    /// The same with only the first sequences; as it is for `nil`.
    func first(_ count: Int?) -> CalibrationSource {
        var source = self
        source.limit = count
        return source
    }

    /// The sequences, from the text or written by the model.
    ///
    /// A text in `.npy` or `.safetensors` is token ids. Sequences that the model wrote are kept in the run's folder, so
    /// that further analyses and a resumed run use the same ones.
    /// - Throws: errors of the text and the tokenizer; `EvaluationError.textTooShort` naming the text.
    public func windows(in run: AnalysisRun) throws -> CalibrationWindows {
        CalibrationWindows(windows: Array(try allWindows(in: run).windows.prefix(sequenceCount)))
    }

    private func allWindows(in run: AnalysisRun) throws -> CalibrationWindows {
        guard let text = settings.text else { return try selfWritten(in: run) }
        let tokens = isTokenFile ? try TokenFile.read(text) : try Tokenizer(path: modelPath).tokens(ofFile: text)
        do throws(EvaluationError) {
            let windows = try CalibrationWindows(drawnFrom: tokens, count: settings.sequences, context: context, seed: UInt64(settings.seed))
            if tokens.count < settings.sequences * context {
                run.report(
                    .warning,
                    "the calibration text has \(tokens.count) tokens and \(settings.sequences) sequences of \(context) are asked for: they overlap")
            }
            return windows
        } catch {
            throw EvaluationError(error.reason, path: text)
        }
    }

    private func selfWritten(in run: AnalysisRun) throws -> CalibrationWindows {
        let file = try run.folder(for: "sequences", key: [Digest(of: first(nil).summary)]) + "/tokens.safetensors"
        if FileManager.default.fileExists(atPath: file) {
            return try CalibrationWindows(inOrder: try TokenFile.read(file), count: settings.sequences, context: context)
        }
        let budget = Int(clamping: ProcessInfo.processInfo.physicalMemory / 2)
        let network = try graph.network(weightBudget: budget, threadCount: run.threadCount)
        run.progress.begin(.sampling, total: settings.sequences * context)
        let windows = try CalibrationWindows(
            writtenBy: network, count: settings.sequences, context: context, seed: UInt64(settings.seed),
            firstToken: try? Tokenizer(path: modelPath).special.bos
        ) { count in
            try run.progress.checkCancellation()
            run.progress.advance(count)
        }
        try CalibrationRun.write([.tokens("tokens", windows.windows)], to: file, metadata: [:])
        return windows
    }
}

extension LazyTensor {
    /// Token sequences of one length as an I32 tensor.
    fileprivate static func tokens(_ name: String, _ windows: [[Int]]) -> LazyTensor {
        let ids = windows.flatMap { $0 }
        let bytes = TensorBytes(
            ArrayStorage(byteCount: ids.count * 4) { target in
                for (index, id) in ids.enumerated() { target.storeBytes(of: Int32(id), toByteOffset: 4 * index, as: Int32.self) }
            })
        guard let info = try? TensorInfo(name: name, encoding: .plain(.i32), shape: [windows.count, windows.first?.count ?? 0]) else {
            preconditionFailure("the shape of numbers in memory is valid")
        }
        return LazyTensor(info: info, operation: Constant(bytes: bytes, summary: "sequences"))
    }
}
