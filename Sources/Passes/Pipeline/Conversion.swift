import Foundation
import Formats
import Models
import Synchronization
import Threads

/// One model on its way to one output: opened, rewritten by a recipe's passes, and laid out, but not yet computed.
public struct Conversion: Sendable {
    public let output: Output
    /// The remarks that passes and the export made.
    public let diagnostics: [Diagnostic]
    /// The graph after all passes, under Hugging Face names.
    public let graph: TensorGraph
    /// The model's files, then those that passes opened.
    private let inputs: [SourceFile]
    private let plugins: [Plugin]
    private let modelFileCount: Int
    private let provenance: (recipe: String, name: String)?
    private let export: Export
    private let analyses: [any AnyAnalysis]
    private let architectures: ArchitectureLibrary
    private let maximumRelativeError: Double?
    private let measuresRounding: Bool
    private let calibration: CalibrationSource?

    /// Opens the input, runs the passes and lays the output out. Reads headers only.
    ///
    /// - Parameters:
    ///   - passes: in order.
    ///   - provenance: the resolved recipe and its name, recorded in the artifact; `nil` for a plain change of
    ///     container, which keeps a file's metadata as it is.
    ///   - types: where custom types are looked up that the input names.
    ///   - calibration: what analyses look at; `nil` for runs without a recipe.
    ///   - maximumRelativeError: what rounding may cost a tensor, or `nil` for no limit.
    ///   - measuresRounding: whether the run reports what the last rounding of its tensors cost.
    public init(
        input: String, passes: [any Pass], output: Output, onFallback: FallbackPolicy,
        provenance: (recipe: String, name: String)?, architectures: ArchitectureLibrary, types: TypeTable = .builtIn, calibration: Calibration? = nil,
        maximumRelativeError: Double? = nil, measuresRounding: Bool = false
    ) throws {
        self.measuresRounding = measuresRounding
        self.maximumRelativeError = maximumRelativeError
        let source = try openTensorSource(at: input)
        var graph = try TensorGraph(source, architectures: architectures, types: types)
        if !passes.isEmpty, let problem = graph.artifactProblem { throw problem }
        self.calibration = calibration.map { CalibrationSource($0, modelPath: input, graph: graph) }
        let context = PassContext(onFallback: onFallback, calibration: self.calibration)
        for pass in passes { try pass.rewrite(&graph, in: context) }
        if let exporter = output.exporter as? PluginExporter { context.use(exporter.call.plugin) }
        self.output = output
        self.graph = graph
        self.inputs = source.files + context.inputs
        self.plugins = context.plugins
        modelFileCount = source.files.count
        self.analyses = context.analyses
        self.provenance = provenance
        let record = provenance.map { [inputs, plugins] in
            Provenance(recipe: $0.recipe, recipeName: $0.name, unhashed: inputs, plugins: plugins)
        }
        self.architectures = architectures
        self.export = try Export(graph, to: output, provenance: record, library: architectures, context: context)
        self.diagnostics = context.diagnostics
        try refuseOverwritingInputs()
    }

    /// What would be written. For `.gguf.zst` a sample of every tensor is computed, to say how it will be compressed,
    /// unless it comes from an analysis: plans perform none.
    public func plan(threadCount: Int) throws -> Plan {
        var plan = Plan(export, threadCount: threadCount, diagnostics: diagnostics)
        if let problem = export.problem { plan.diagnostics.append(Diagnostic(.warning, "this cannot be written: \(problem)")) }
        for analysis in analyses { plan.peakMemoryByteCount = max(plan.peakMemoryByteCount, analysis.peakMemoryByteCount) }
        plan.cost = cost
        guard output.format == .ggufZst else { return plan }
        let levels = LevelChoices(tensors: export.tensors, requestedLevel: output.compressionLevel)
        let choices = Mutex([String?](repeating: nil, count: export.tensors.count))
        try inParallel(count: export.tensors.count, threadCount: threadCount) { index throws(any Error) in
            let summary: String
            do { summary = try levels.choice(for: index).summary } catch PipelineError.analysisMissing { summary = "known when run" }
            choices.withLock { $0[index] = summary }
        }
        for (index, summary) in choices.withLock({ $0 }).enumerated() { plan.tensors[index].compression = summary }
        plan.peakMemoryByteCount += (4 * threadCount + 2) * output.frameByteCount
        return plan
    }

    /// How a tensor of the output comes about.
    /// - Parameter name: its name in the output, or the one it has between passes.
    public func explanation(of name: String) throws -> TensorExplanation {
        let ggufName = graph.model?.match(name: name)?.ggufName
        if let tensor = export.tensors.first(where: { $0.info.name == name }) ?? export.tensors.first(where: { $0.info.name == ggufName }) {
            return TensorExplanation(tensor)
        }
        if let tensor = graph[name] { return TensorExplanation(tensor) }
        let names = export.tensors.map(\.info.name) + graph.tensors.map(\.info.name)
        throw PipelineError.noSuchTensor(name: name, nearest: nearest(to: name, in: names))
    }

    /// What a run that calibrates takes; `nil` for other runs, whose time is that of reading, rounding and writing.
    private var cost: Plan.Cost? {
        guard let calibration, analyses.contains(where: { $0.work != WorkEstimate() }) else { return nil }
        var writing = WorkEstimate()
        for tensor in export.tensors {
            writing[.storing] += Double(tensor.info.elementCount)
            writing[.rotation] += tensor.rotationWork
        }
        let stages = [("calibration sequences", calibration.work)] + analyses.map { ($0.summary, $0.work) } + [("write", writing)]
        let needed = stages.filter { $0.1 != WorkEstimate() }.map { (name: $0.0, cpuSeconds: $0.1.cpuSeconds) }
        return Plan.Cost(
            cpuSeconds: needed.reduce(0) { $0 + $1.cpuSeconds }, stages: needed, calibrationTokenCount: calibration.tokenCount)
    }

    /// Computes and writes everything, reads it back, and gives the files their names.
    ///
    /// - Parameters:
    ///   - workDirectory: keeps the state of a run that is interrupted, and what analyses found; created when missing.
    ///   - replacesExisting: whether a folder that already holds files may be written into.
    ///   - computesTwice: whether every tensor is computed again and compared with what was written.
    /// - Throws: `PipelineError`, `FormatError`, and what passes throw. Then no output file has its name.
    public func run(
        threadCount: Int, workDirectory: String? = nil, replacesExisting: Bool = false, computesTwice: Bool = false,
        progress: Progress = Progress()
    ) throws -> ConversionReport {
        if let problem = export.problem { throw problem }
        if output.format == nil, maximumRelativeError != nil {
            throw PipelineError.cannotApply(pass: "verify", why: "'max-relative-error' needs a format that resq reads, and \(output.formatName) is none")
        }
        try refuseExisting(replacesExisting, work: workDirectory)
        var export = export
        // What a run must share with an interrupted one to go on from it.
        var key = export
        var pending: PendingHeaders?
        let hashes = InputHashes(of: inputs)
        // The header is the first frame of a compressed file, and a resumed run or analysis is known by its inputs' hashes.
        // Nothing says that a header of somebody else's format stays as long as it is.
        let hashesFirst = !analyses.isEmpty || provenance != nil && (output.format == .ggufZst || output.format == nil || workDirectory != nil)
        if hashesFirst { try hashes.hashAll(threadCount: threadCount, progress: progress) }
        if let provenance, !inputs.isEmpty {
            let record = { @Sendable [inputs, plugins] (digests: [Digest]) in
                Provenance(
                    recipe: provenance.recipe, recipeName: provenance.name, files: inputs, digests: digests, plugins: plugins)
            }
            if hashesFirst {
                let record = record(hashes.all)
                export = try export.recording(record)
                key = try export.recording(record.withoutPluginDigests)
            } else {
                pending = PendingHeaders(hashes: hashes) { [export] in try export.recording(record($0)).layout }
            }
        }
        let isFolder = export.layout.files.contains { !$0.name.isEmpty }
        let folder = isFolder ? output.folder : output.path
        let work = try workDirectory.map { try WorkDirectory(path: $0) }
        // A compressed file begins with its header, and is gone on with only as a whole.
        let plan = output.format == .ggufZst ? export : key
        let journal = try work.map { try Journal(directory: $0.path, plan: plan.digest(inputs: inputs, output: output)) }
        if let journal, !journal.isContinuation { try refuseExisting(replacesExisting, work: nil) }
        let analysisFolder = try work ?? (analyses.isEmpty ? nil : try WorkDirectory(path: analysisFolderPath))
        defer { if work == nil, let analysisFolder { try? FileManager.default.removeItem(atPath: analysisFolder.path) } }
        let analysisRun = try analysisFolder.flatMap { try perform(in: $0, export, hashes, threadCount: threadCount, progress: progress) }
        // Folders that stay empty go again, the inner one first.
        var newFolders: [String] = []
        defer { for folder in newFolders.reversed() { removeEmptyFolder(folder) } }
        for folder in isFolder ? [folder] + export.layout.folders.map({ "\(folder)/\($0)" }) : [] {
            if FileIdentity(path: folder) == nil { newFolders.append(folder) }
            try createFolder(folder)
        }
        let identities = try inputs.map { try MappedFile(path: $0.path).identity }
        let resumed: Int
        if output.format == .ggufZst {
            resumed = try CompressedWriter(
                file: export.layout.files[0], tensors: export.tensors, output: output, inputs: identities,
                threadCount: threadCount, journal: journal, progress: progress
            ).write()
        } else {
            resumed = try ArtifactWriter(
                layout: export.layout, pending: pending, tensors: export.tensors, path: folder, inputs: identities,
                threadCount: threadCount, journal: journal, progress: progress
            ).write()
        }
        try checkWritten(export, folder: folder)
        if computesTwice { try checkDeterminism(export, folder: folder, threadCount: threadCount, progress: progress) }
        if let limit = maximumRelativeError { try checkErrors(export, folder: folder, limit: limit, threadCount: threadCount) }
        let largest = try measuresRounding
            ? errors(of: export, folder: folder, threadCount: threadCount, from: \.beforeRounding).max { $0.error < $1.error } : nil
        journal?.remove()
        return ConversionReport(
            tensorCount: export.tensors.count, resumedTensorCount: resumed, diagnostics: analysisRun?.diagnostics ?? [],
            largestRoundingError: largest,
            byteCount: output.format == .ggufZst ? try MappedFile(path: output.path).byteCount : export.layout.byteCount)
    }

    /// Where analyses keep what they need when there is no work directory: beside the output, for as long as the run lasts.
    private var analysisFolderPath: String { (output.path.hasSuffix("/") ? String(output.path.dropLast()) : output.path) + ".work" }

    /// Performs the analyses, once it is known that the output can be written.
    private func perform(
        in folder: WorkDirectory, _ export: Export, _ hashes: InputHashes, threadCount: Int, progress: Progress
    ) throws -> AnalysisRun? {
        guard !analyses.isEmpty else { return nil }
        let parent = URL(fileURLWithPath: output.path).deletingLastPathComponent().path
        guard FileManager.default.isWritableFile(atPath: parent) else {
            throw PipelineError.cannotCreate(path: output.path, why: "its folder cannot be written to")
        }
        if output.format != .ggufZst {
            try OutputFile.checkRoom(
                for: export.layout.files.map { (output.path, $0.byteCount) }, resume: true, includesSingleFile: true)
        }
        let run = AnalysisRun(
            folder: folder.path, modelDigest: Digest(of: hashes.all.prefix(modelFileCount)), inputsDigest: Digest(of: hashes.all),
            threadCount: threadCount, progress: progress)
        for analysis in analyses { try analysis.perform(in: run) }
        return run
    }

    /// Compares every tensor with what it was, or, where passes changed it, with what was rounded, and takes the output away when
    /// one of them lost more than the recipe allows.
    private func checkErrors(_ export: Export, folder: String, limit: Double, threadCount: Int) throws {
        let errors = try errors(of: export, folder: folder, threadCount: threadCount) { $0.unrounded ?? $0.beforeRounding }
        guard let first = errors.first(where: { $0.error > limit }) else { return }
        remove(export, from: folder)
        throw PipelineError.tooInaccurate(tensor: first.tensor, relativeError: first.error, limit: limit)
    }

    /// Takes an output away that turned out to be of no use.
    private func remove(_ export: Export, from folder: String) {
        for file in export.layout.files {
            try? FileManager.default.removeItem(atPath: file.name.isEmpty ? output.path : folder + "/" + file.name)
        }
    }

    /// Computes every piece again and compares it with what stands in the files; takes the output away when one differs.
    private func checkDeterminism(_ export: Export, folder: String, threadCount: Int, progress: Progress) throws {
        let pieces = export.layout.pieces(ofAbout: ArtifactWriter.pieceByteCount)
        let bytes: @Sendable (Piece) throws -> TensorBytes
        if output.format == .ggufZst {
            let written = try openTensorSource(at: output.path)
            let places = Dictionary(written.manifest.tensors.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
            bytes = { piece in
                let tensor = export.tensors[piece.tensor]
                let stored = LazyTensor(info: tensor.info, operation: SourceSlice(source: written, index: places[tensor.info.name] ?? 0))
                return try stored.rows(piece.rows)
            }
        } else {
            let files = try export.layout.files.map { try MappedFile(path: $0.name.isEmpty ? output.path : folder + "/" + $0.name).bytes }
            bytes = { piece in files[piece.file][piece.byteOffset..<piece.byteOffset + piece.byteCount] }
        }
        progress.begin(.comparing, total: pieces.reduce(0) { $0 + $1.byteCount })
        let differing = Mutex<Int?>(nil)
        try inParallel(count: pieces.count, threadCount: threadCount) { index throws(any Error) in
            try progress.checkCancellation()
            let piece = pieces[index]
            let (again, written) = (try export.tensors[piece.tensor].rows(piece.rows), try bytes(piece))
            if xxh64(again.bytes) != xxh64(written.bytes) { differing.withLock { $0 = min($0 ?? piece.tensor, piece.tensor) } }
            progress.advance(piece.byteCount)
        }
        guard let tensor = differing.withLock({ $0 }) else { return }
        remove(export, from: folder)
        throw PipelineError.notDeterministic(tensor: export.tensors[tensor].info.name)
    }

    /// The relative errors of what was written, in the order of the tensors, where there is something to compare with.
    /// - Parameter original: what a tensor is compared with; `nil` for none.
    private func errors(
        of export: Export, folder: String, threadCount: Int, from original: @Sendable (LazyTensor) -> LazyTensor?
    ) throws -> [(tensor: String, error: Double)] {
        let written = try openTensorSource(at: entryPaths(of: export, folder: folder)[0])
        let places = Dictionary(
            written.manifest.tensors.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        let found = Mutex([Double?](repeating: nil, count: export.tensors.count))
        try inParallel(count: export.tensors.count, threadCount: threadCount) { index throws(any Error) in
            let stored = export.tensors[index]
            // Bytes that stand for rows of a split or custom type.
            let tensor = stored.info.encoding == .plain(.i8) ? (stored.operation as? SameBytes)?.input ?? stored : stored
            guard let original = original(tensor), Codec.canDecode(tensor.info.encoding), let place = places[stored.info.name]
            else { return }
            let result = LazyTensor(info: tensor.info, operation: SourceSlice(source: written, index: place))
            let error = try TensorComparison(original, result).relativeRootMeanSquareError ?? 0
            found.withLock { $0[index] = error }
        }
        return zip(export.tensors, found.withLock { $0 }).compactMap { tensor, error in error.map { (tensor.info.name, $0) } }
    }

    /// What a reader is given to open the output: the model, and an adapter beside it.
    private func entryPaths(of export: Export, folder: String) -> [String] {
        export.entryFiles.map { $0.map { folder + "/" + $0 } ?? folder }
    }

    /// Opens what was written as any reader would and compares it with what was promised.
    private func checkWritten(_ export: Export, folder: String) throws {
        guard output.format != nil else { return }
        let paths = entryPaths(of: export, folder: folder)
        let path = paths[0]
        let written = Dictionary(
            try paths.flatMap { try openTensorSource(at: $0).manifest.tensors.map { ($0.name, $0) } }, uniquingKeysWith: { first, _ in first })
        for tensor in export.tensors where written[tensor.info.name] != tensor.info {
            throw PipelineError.readBackMismatch(
                path: path, tensor: tensor.info.name, what: "the header does not hold what was planned")
        }
    }

    private func refuseOverwritingInputs() throws {
        let target = URL(fileURLWithPath: output.path).standardizedFileURL.resolvingSymlinksInPath().path
        for input in inputs + plugins.map(\.file) {
            let path = URL(fileURLWithPath: input.path).standardizedFileURL.resolvingSymlinksInPath().path
            if path == target || output.isFolder && path.hasPrefix(target + "/") {
                throw PipelineError.outputIsInput(path: output.path)
            }
        }
    }

    /// Refuses a model directory that already holds files.
    /// - Parameter work: where an interrupted run may have left its journal; then the files that it would have written
    ///   may be there.
    private func refuseExisting(_ replacesExisting: Bool, work: String?) throws {
        guard output.isFolder, export.layout.files.contains(where: { !$0.name.isEmpty }), !replacesExisting else { return }
        let contents = (try? FileManager.default.contentsOfDirectory(atPath: output.path)) ?? []
        let isInterrupted = work.map { FileManager.default.fileExists(atPath: $0 + "/journal") } ?? false
        let ours = isInterrupted ? Set(export.layout.files.map(\.name) + export.layout.folders) : []
        // Parts are what an interrupted run left; they are ours to go on with.
        guard contents.allSatisfy({ ours.contains($0) || $0.hasPrefix(".") && $0.hasSuffix(".part") }) else {
            throw PipelineError.outputExists(path: output.path)
        }
    }
}

/// What a run did.
public struct ConversionReport: Sendable {
    public var tensorCount: Int
    /// Tensors that an interrupted run had finished and that were not computed again.
    public var resumedTensorCount: Int
    /// The remarks that analyses made.
    public var diagnostics: [Diagnostic]
    /// The largest relative error of a tensor's last rounding, when that was measured.
    public var largestRoundingError: (tensor: String, error: Double)?
    public var byteCount: Int
}

/// Removes a folder if nothing is in it.
private func removeEmptyFolder(_ path: String) {
    // The path is copied for the call.
    _ = unsafe rmdir(path)
}

func createFolder(_ path: String) throws(PipelineError) {
    do {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
        throw .cannotCreate(path: path, why: FormatError(.system(call: "mkdir", errno: errno)).description)
    }
}
