import Formats

/// Input files and the SHA-256 of each.
public struct HashedInputs: Sendable {
    public let files: [SourceFile]
    public let digests: [Digest]

    /// Reads every file once.
    public init(_ files: [SourceFile], threadCount: Int, progress: Progress = Progress()) throws {
        let hashes = InputHashes(of: files)
        try hashes.hashAll(threadCount: threadCount, progress: progress)
        digests = hashes.all
        self.files = files
    }
}

/// The folder where evaluations keep what they finish; one process at a time uses it.
public final class EvaluationWork: Sendable {
    private let directory: WorkDirectory
    private let inputs: HashedInputs
    private let settings: [String]

    /// - Parameters:
    ///   - directory: created when missing, locked for as long as the object lives.
    ///   - inputs: the files of the model and of its reference.
    ///   - settings: what else decides what the model computes.
    /// - Throws: `PipelineError.workDirectoryBusy`, `.cannotCreate`.
    public init(directory: String, inputs: HashedInputs, settings: [String] = []) throws {
        self.directory = try WorkDirectory(path: directory)
        self.inputs = inputs
        self.settings = settings
    }

    /// The journal of the evaluation that these facts, the inputs and this version of the tool make.
    func journal(_ facts: [String]) throws -> EvaluationJournal {
        let key = Digest(of: inputs.digests + ([toolVersion] + settings + facts).map { Digest(of: $0) })
        return try EvaluationJournal(directory: directory.path, key: key)
    }
}
