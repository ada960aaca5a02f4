import Formats
import Threads

/// A reference's logits in a file: a GGUF of architecture `resq-logits`, plain or in zstd's seekable frames.
///
/// | tensor | type | shape | |
/// |---|---|---|---|
/// | `tokens` | I32 | `[windows, context]` | the windows, as the model read them |
/// | `window.W.run.R` | I8 | `[2, rows, vocabulary]` | codes of judged rows (see `LogitCode`) |
/// | `window.W.top` | F32 | `[judged rows]` | each row's largest logit |
public struct SavedLogits: Sendable {
    public static let architecture = "resq-logits"
    static let version: UInt32 = 1

    public let path: String
    public let shape: Shape
    /// What the reference was called.
    public let modelName: String
    /// The files the file came from.
    public var files: [SourceFile] { source.files }
    private let source: any TensorSource

    /// What says which tensors there are.
    public struct Shape: Sendable, Equatable {
        public var protocolName: EvaluationProtocol
        public var context: Int
        public var windowCount: Int
        public var vocabulary: Int

        package init(protocolName: EvaluationProtocol, context: Int, windowCount: Int, vocabulary: Int) {
            self.protocolName = protocolName
            self.context = context
            self.windowCount = windowCount
            self.vocabulary = vocabulary
        }

        package var judgedRowCount: Int { protocolName.scoredRows(context: context).count }
        var rowsPerRun: Int { LogitCode.rowsPerRun(vocabulary: vocabulary) }
        package var runsPerWindow: Int { (judgedRowCount + rowsPerRun - 1) / rowsPerRun }

        package func run(ofRow row: Int) -> Int { row / rowsPerRun }

        /// The judged rows of a run.
        func rows(ofRun run: Int) -> Range<Int> { run * rowsPerRun..<min(judgedRowCount, (run + 1) * rowsPerRun) }

        /// Where a run stands among the tensors.
        package func place(ofRun run: Int, window: Int) -> Int { 1 + window * (runsPerWindow + 1) + run }
        package func placeOfTops(window: Int) -> Int { place(ofRun: runsPerWindow, window: window) }

        /// The tensors, in the order of the file.
        package func tensors() throws(FormatError) -> [TensorInfo] {
            var infos = [try TensorInfo(name: "tokens", encoding: .plain(.i32), shape: [windowCount, context])]
            infos.reserveCapacity(1 + windowCount * (runsPerWindow + 1))
            for window in 0..<windowCount {
                for run in 0..<runsPerWindow {
                    infos.append(
                        try TensorInfo(
                            name: "window.\(window).run.\(run)", encoding: .plain(.i8), shape: [2, rows(ofRun: run).count, vocabulary]))
                }
                infos.append(try TensorInfo(name: "window.\(window).top", encoding: .plain(.f32), shape: [judgedRowCount]))
            }
            return infos
        }

        /// The metadata that tell it.
        package func metadata(modelName: String) -> GGUFMetadata {
            var metadata = GGUFMetadata()
            metadata["general.architecture"] = .string(SavedLogits.architecture)
            metadata["general.name"] = .string(modelName)
            metadata["resq-logits.version"] = .u32(SavedLogits.version)
            metadata["resq-logits.protocol"] = .string(protocolName.rawValue)
            metadata["resq-logits.context"] = .u32(UInt32(clamping: context))
            metadata["resq-logits.windows"] = .u32(UInt32(clamping: windowCount))
            metadata["resq-logits.vocabulary"] = .u32(UInt32(clamping: vocabulary))
            return metadata
        }
    }

    /// Whether a source is such a file.
    public static func isSaved(in source: any TensorSource) -> Bool {
        guard case .gguf(let metadata) = source.manifest.metadata else { return false }
        return metadata["general.architecture"]?.string == architecture
    }

    /// Reads the header; checks that exactly the tensors it promises are there.
    /// - Throws: `FormatError` naming the file and the key or tensor.
    public init(_ source: any TensorSource, path: String) throws(FormatError) {
        guard case .gguf(let metadata) = source.manifest.metadata else {
            throw FormatError(.invalid(field: "the file", found: "something else", expected: "saved logits"), path: path)
        }
        func number(_ name: String, _ range: ClosedRange<Int>) throws(FormatError) -> Int {
            let key = "resq-logits." + name
            guard let value = metadata[key]?.integer else { throw FormatError(.missing(field: "key", name: key), path: path) }
            guard range.contains(value) else {
                throw FormatError(.invalid(field: key, found: "\(value)", expected: "\(range.lowerBound) to \(range.upperBound)"), path: path)
            }
            return value
        }
        guard try number("version", 0...Int(UInt32.max)) == Int(Self.version) else {
            throw FormatError(.unsupported(what: "a later version of saved logits"), path: path)
        }
        let key = "resq-logits.protocol"
        guard let name = metadata[key]?.string, let protocolName = EvaluationProtocol(rawValue: name) else {
            throw FormatError(
                .invalid(field: key, found: metadata[key]?.string ?? "missing", expected: "hf or llama.cpp"), path: path)
        }
        // A window takes a tensor at least, so the file's own tensors bound all that follows.
        shape = Shape(
            protocolName: protocolName, context: try number("context", 2...1 << 30),
            windowCount: try number("windows", 1...max(1, source.manifest.tensors.count)), vocabulary: try number("vocabulary", 1...1 << 30))
        let (expected, overflow) = shape.windowCount.multipliedReportingOverflow(by: shape.runsPerWindow + 1)
        guard !overflow, expected + 1 == source.manifest.tensors.count else {
            throw FormatError(
                .invalid(field: "the number of tensors", found: "\(source.manifest.tensors.count)", expected: "1 + \(expected)"), path: path)
        }
        for (found, wanted) in zip(source.manifest.tensors, try shape.tensors()) where found != wanted {
            throw FormatError(
                .invalid(
                    field: "the tensor", found: "\(found.name) \(found.encoding.name) \(found.shape)",
                    expected: "\(wanted.name) \(wanted.encoding.name) \(wanted.shape)"), path: path, tensor: found.name)
        }
        modelName = metadata["general.name"]?.string ?? "?"
        self.source = source
        self.path = path
    }

    /// Checks that the logits are of these windows, or of more that begin with them.
    /// - Throws: `EvaluationError.savedLogitsDiffer` naming what differs first.
    func check(windows: [[Int]], context: Int, protocol protocolName: EvaluationProtocol, vocabulary: Int) throws {
        func require(_ same: Bool, _ what: String, _ found: String, _ expected: String) throws(EvaluationError) {
            guard same else { throw EvaluationError(.savedLogitsDiffer(what: what, found: found, expected: expected), path: path) }
        }
        guard vocabulary == shape.vocabulary else {
            throw EvaluationError(.vocabulariesDiffer(model: vocabulary, reference: shape.vocabulary), path: path)
        }
        try require(protocolName == shape.protocolName, "the protocol", shape.protocolName.rawValue, protocolName.rawValue)
        try require(context == shape.context, "the window", "\(shape.context) tokens", "\(context)")
        try require(windows.count <= shape.windowCount, "the number of windows", "\(shape.windowCount)", "\(windows.count) (see --windows)")
        let bytes = try source.bytes(ofTensorAt: 0)
        let tokens = bytes.bytes
        for (window, ids) in windows.enumerated() {
            for (position, id) in ids.enumerated() {
                let saved = Int(tokens.littleEndian(Int32.self, at: 4 * (window * context + position)))
                try require(saved == id, "token \(position) of window \(window)", "\(saved)", "\(id)")
            }
        }
    }

    /// Checks that the logits are of an evaluation's windows.
    package func check(_ evaluation: Evaluation) throws {
        try check(
            windows: evaluation.windows, context: evaluation.context, protocol: evaluation.protocolName, vocabulary: evaluation.vocabulary)
    }

    /// Decodes some judged rows of a window.
    /// - Parameter logits: gets `[rows.count, vocabulary]`.
    /// - Throws: `FormatError` for damaged frames and for a top that is not finite, naming the tensor.
    func logits(ofWindow window: Int, rows: Range<Int>, into logits: inout [Float], threadCount: Int) throws(FormatError) {
        let (vocabulary, perRun) = (shape.vocabulary, shape.rowsPerRun)
        Batch.Scratch.reserve(&logits, rows.count * vocabulary)
        let topBytes = try source.bytes(ofTensorAt: shape.placeOfTops(window: window))
        var tops: [Float] = []
        for row in rows {
            let top = Float(bitPattern: topBytes.bytes.littleEndian(at: 4 * row))
            guard top.isFinite else {
                throw FormatError(
                    .invalid(field: "element \(row)", found: "\(top)", expected: "a finite number"), path: path, tensor: "window.\(window).top")
            }
            tops.append(top)
        }
        let runs = rows.isEmpty ? 0..<0 : rows.lowerBound / perRun..<(rows.upperBound - 1) / perRun + 1
        let found = tops
        try unsafe logits.withUnsafeMutableRows { memory throws(FormatError) in
            try inParallel(count: runs.count, threadCount: threadCount) { index throws(FormatError) in
                let run = runs.lowerBound + index
                let all = shape.rows(ofRun: run)
                let codes = try source.bytes(ofTensorAt: shape.place(ofRun: run, window: window))
                for row in all.clamped(to: rows) {
                    let start = (row - rows.lowerBound) * vocabulary
                    // Each row of the result is written once.
                    var part = unsafe memory.span(start..<start + vocabulary)
                    LogitCode.decode(
                        codes.bytes, row: row - all.lowerBound, of: all.count, top: found[row - rows.lowerBound], into: &part)
                }
            }
        }
    }
}

extension [Float] {
    /// Lets the tasks of a parallel loop write disjoint parts of the array.
    fileprivate mutating func withUnsafeMutableRows<E: Error>(
        _ body: (SharedMutable<Float>) throws(E) -> Void
    ) throws(E) {
        // An array of rows is not empty, so it has an address; the pointer is used inside the call only.
        var failure: E?
        unsafe withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return }
            do throws(E) { try unsafe body(SharedMutable(start)) } catch { failure = error }
        }
        if let failure { throw failure }
    }
}
