import Formats

extension Tokenizer {
    /// The token ids of a text file, without tokens for its start and end.
    /// - Throws: `ModelError.invalidText` naming the file and the byte; `FormatError` when it cannot be read.
    public func tokens(ofFile path: String) throws -> [Int] {
        let file = try MappedFile(path: path).bytes
        do {
            // Every bit pattern is a byte.
            return try encode(Span<UInt8>(_bytes: file.bytes), addsSpecialTokens: false)
        } catch {
            throw ModelError(error.reason, path: error.path ?? path)
        }
    }
}
