/// Turning stored elements into `Float` and back, for every encoding.
///
/// Decoding follows the reference implementation bit for bit; so does encoding where the reference is deterministic.
/// Both work on whole rows, so that callers can cut a tensor into runs of rows and work on them in parallel.
public enum Codec {
    /// Whether `decode` knows an encoding.
    public static func canDecode(_ encoding: Encoding) -> Bool {
        if case .block(let type) = encoding { return kQuantBlock(type) != nil }
        return false
    }

    /// Whether `encode` knows an encoding.
    public static func canEncode(_ encoding: Encoding) -> Bool {
        if case .block(let type) = encoding { return kQuantBlock(type) != nil }
        return false
    }

    /// Decodes whole blocks into `Float`.
    /// - Parameters:
    ///   - source: the bytes of `target.count` elements.
    ///   - target: receives the elements in order.
    public static func decode(_ encoding: Encoding, _ source: RawSpan, into target: inout MutableSpan<Float>) throws(FormatError) {
        if case .block(let type) = encoding, let block = kQuantBlock(type) {
            return block.decode(source, into: &target)
        }
        throw FormatError(.unsupported(what: "decoding \(encoding.name)"))
    }

    /// Encodes rows of `columnCount` elements each.
    /// - Parameters:
    ///   - source: whole rows.
    ///   - columnCount: elements of a row; a multiple of the encoding's block size.
    ///   - importance: one weight per column (an importance matrix's row), or `nil`.
    ///   - target: exactly the bytes of these rows.
    public static func encode(
        _ source: Span<Float>, as encoding: Encoding, columnCount: Int, importance: Span<Float>?,
        into target: inout MutableRawSpan
    ) throws(FormatError) {
        if case .block(let type) = encoding, let block = kQuantBlock(type) {
            return try block.encode(source, columnCount: columnCount, importance: importance, into: &target)
        }
        throw FormatError(.unsupported(what: "encoding \(encoding.name)"))
    }
}
