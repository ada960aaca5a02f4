/// Turning stored elements into `Float` and back, for every encoding.
///
/// Decoding follows the reference implementation bit for bit; so does encoding where the reference is deterministic.
/// Both work on whole rows, so that callers can cut a tensor into runs of rows and work on them in parallel.
public enum Codec {
    /// Whether `decode` knows an encoding.
    public static func canDecode(_ encoding: Encoding) -> Bool {
        switch encoding {
        case .plain(let dtype): PlainCodec.canDecode(dtype)
        case .block(let type): blockCodec(type) != nil
        case .split, .custom: true
        }
    }

    /// Whether `encode` knows an encoding.
    /// - Parameter hasImportance: whether there is an importance matrix; some types cannot do without.
    public static func canEncode(_ encoding: Encoding, hasImportance: Bool = false) -> Bool {
        switch encoding {
        case .plain(let dtype): PlainCodec.canEncode(dtype)
        case .block(let type): blockEncoder(type) != nil || hasImportance && weightedBlockEncoder(type) != nil
        case .split, .custom: true
        }
    }

    /// Decodes whole blocks into `Float`. Any bytes give some numbers; `firstInvalidBlock` tells whether they are sound.
    ///
    /// Numbers that `Float` does not hold exactly (F64, integers from 2^24) are rounded to nearest even.
    /// - Parameters:
    ///   - source: the bytes of `target.count` elements.
    ///   - target: receives the elements in order.
    /// - Throws: `.unsupported` when `canDecode` is false.
    public static func decode(
        _ encoding: Encoding, _ source: RawSpan, into target: inout MutableSpan<Float>
    ) throws(FormatError) {
        switch encoding {
        case .plain(let dtype) where PlainCodec.canDecode(dtype): return PlainCodec.decode(dtype, source, into: &target)
        case .block(let type):
            if let codec = blockCodec(type) { return codec.decode(source, into: &target) }
        case .split(let layout): return SplitCodec.decode(layout, source, into: &target)
        case .custom(let type): return try type.codec.decode(source, into: &target)
        default: break
        }
        throw FormatError(.unsupported(what: "decoding \(encoding.name)"))
    }

    /// Encodes rows of `columnCount` elements each.
    ///
    /// NaN and infinities do not trap, but what block types make of them is of no use; ask `firstNonFinite` before.
    /// - Parameters:
    ///   - source: whole rows.
    ///   - columnCount: elements of a row; a multiple of the encoding's block size.
    ///   - importance: one number per column (see `ImportanceMatrix`), finite and not negative, or `nil`. Plain encodings
    ///     and some block types do not look at it.
    ///   - target: exactly the bytes of these rows.
    /// - Throws: `.unsupported` when `canEncode` is false.
    public static func encode(
        _ source: Span<Float>, as encoding: Encoding, columnCount: Int, importance: Span<Float>?,
        into target: inout MutableRawSpan
    ) throws(FormatError) {
        switch encoding {
        case .plain(let dtype) where PlainCodec.canEncode(dtype): return PlainCodec.encode(dtype, source, into: &target)
        case .block(let type):
            if let importance, let codec = weightedBlockEncoder(type) {
                precondition(importance.count == columnCount, "one number per column")
                return codec.encode(source, importance: importance, into: &target)
            }
            if let codec = blockEncoder(type) { return codec.encode(source, columnCount: columnCount, into: &target) }
            if weightedBlockEncoder(type) != nil {
                throw FormatError(.unsupported(what: "encoding \(encoding.name) without an importance matrix"))
            }
        case .split(let layout): return SplitCodec.encode(layout, source, into: &target)
        case .custom(let type): return try type.codec.encode(source, columnCount: columnCount, into: &target)
        default: break
        }
        throw FormatError(.unsupported(what: "encoding \(encoding.name)"))
    }
}
