import Foundation
import Formats

/// What a run has finished, kept in its work directory so that a killed run can go on.
///
/// A text file: the first line names the plan, each further line a finished tensor.
///
///     resq-journal 2 PLAN-DIGEST
///     FILE TENSOR CHAIN-DIGEST DIGEST
///
/// The chain is how the tensor was computed: when that changes, as with a plugin that was mended, the tensor is computed again.
/// Lines are appended after a tensor's last byte was handed to the system. A record is only a claim: the resuming run
/// hashes the bytes it speaks of before it believes it, so a torn line or a lost page costs work, never correctness.
final class Journal: Sendable {
    struct Entry: Hashable {
        let file: Int
        let tensor: Int
        /// Of the operations that made the tensor.
        let chain: Digest
        /// Of the tensor's bytes.
        let digest: Digest
    }

    /// The tensors an earlier run of the same plan says it finished.
    let finished: [Entry]
    /// Whether an earlier run of the same plan was here, so that what it left may be gone on with.
    let isContinuation: Bool
    private let handle: FileHandle
    private let path: String

    /// Opens `DIRECTORY/journal`, keeping its records when they are of this plan and starting afresh otherwise.
    init(directory: String, plan: Digest) throws {
        let path = directory + "/journal"
        let header = "resq-journal 2 \(plan)"
        var entries: [Entry] = []
        var kept = ""
        var isContinuation = false
        if let text = try? String(contentsOfFile: path, encoding: .utf8), text.hasPrefix(header + "\n") {
            isContinuation = true
            // The last line may be torn; only lines that end count.
            for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropFirst().dropLast() {
                let fields = line.split(separator: " ")
                guard fields.count == 4, let file = Int(fields[0]), let tensor = Int(fields[1]),
                    let chain = Digest(hexadecimal: fields[2]), let digest = Digest(hexadecimal: fields[3])
                else { break }
                entries.append(Entry(file: file, tensor: tensor, chain: chain, digest: digest))
                kept += line + "\n"
            }
        }
        try (header + "\n" + kept).write(toFile: path, atomically: true, encoding: .utf8)
        guard let handle = FileHandle(forWritingAtPath: path) else {
            throw FormatError(.system(call: "open", errno: errno), path: path)
        }
        try handle.seekToEnd()
        self.handle = handle
        self.path = path
        self.finished = entries
        self.isContinuation = isContinuation
    }

    /// Forgets everything: the run is complete.
    func remove() { try? FileManager.default.removeItem(atPath: path) }

    /// Appends a record.
    func record(_ entry: Entry) throws {
        try handle.write(contentsOf: Data("\(entry.file) \(entry.tensor) \(entry.chain) \(entry.digest)\n".utf8))
    }
}
