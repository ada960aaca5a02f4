import Formats

/// A text as a model reads it: its token ids, and where it came from.
public struct TokenText: Sendable {
    public var ids: [Int]
    /// The file, for messages; several are joined with commas.
    public var name: String

    public init(ids: [Int], name: String) {
        self.ids = ids
        self.name = name
    }

    /// Ids from a file (see `TokenFile`).
    /// - Throws: `FormatError`; `EvaluationError.emptyText`.
    public init(tokenFile path: String) throws {
        self.init(ids: try TokenFile.read(path), name: path)
        guard !ids.isEmpty else { throw EvaluationError(.emptyText, path: path) }
    }

    /// - Throws: `EvaluationError.tokenOutOfRange` for the first id that is not below a vocabulary's size.
    public func check(vocabulary: Int) throws(EvaluationError) {
        guard let position = ids.firstIndex(where: { !(0..<vocabulary).contains($0) }) else { return }
        throw EvaluationError(.tokenOutOfRange(id: ids[position], position: position, vocabulary: vocabulary), path: name)
    }

    /// The text of UTF-8 files, joined by an empty line.
    /// - Throws: `EvaluationError` naming the file and the byte where it is not UTF-8, or a file without text; `FormatError`.
    public static func read(_ paths: [String]) throws -> String {
        try paths.map { path in
            let bytes = try MappedFile(path: path).bytes
            guard bytes.count > 0 else { throw EvaluationError(.emptyText, path: path) }
            return try text(bytes.bytes, path: path)
        }.joined(separator: "\n\n")
    }

    private static func text(_ bytes: RawSpan, path: String) throws(EvaluationError) -> String {
        do throws(UTF8.ValidationError) {
            // Bytes of any value may be seen as UInt8.
            return String(copying: try UTF8Span(validating: Span<UInt8>(_bytes: bytes)))
        } catch {
            throw EvaluationError(.notUTF8(byteOffset: error.byteOffsets.lowerBound), path: path)
        }
    }
}
