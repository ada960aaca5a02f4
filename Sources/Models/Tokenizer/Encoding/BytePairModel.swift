import Formats

/// Byte-pair encoding: a word begins as its characters, and of all adjacent pairs that are merges the one of the lowest rank (the
/// leftmost of equals) becomes one token, until none is left.
struct BytePairModel: Sendable {
    let vocabulary: TokenVocabulary
    let merges: PairTable
    /// Whether words are bytes that stand for characters of GPT-2's alphabet.
    let isByteLevel: Bool
    /// For words of bytes: the token of each byte, -1 for none. Else: of each ASCII character.
    let singles: [Int32]
    /// For words of bytes: whole tokens by their bytes.
    let byteWords: StringIndexOfBytes?
    /// Tokens of single bytes for characters that are not in the vocabulary; empty: no such fallback.
    let byteTokens: [Int32]
    let unknown: Int32?
    let fusesUnknown: Bool
    let ignoresMerges: Bool
    /// What is put before every character but the first, and after the last.
    let continuingPrefix: String, endSuffix: String
    /// Pairs of first tokens that stand next to each other inside some token; a word can be cut between all others.
    let boundaries: BoundaryTable?

    init(_ part: TokenizerPart, isByteLevel: Bool) throws(ModelError) {
        let vocabulary = try TokenVocabulary(object: part.required("vocab"))
        self.vocabulary = vocabulary
        self.isByteLevel = isByteLevel
        continuingPrefix = try part.string("continuing_subword_prefix", default: "")
        endSuffix = try part.string("end_of_word_suffix", default: "")
        fusesUnknown = try part.bool("fuse_unk", default: false)
        ignoresMerges = try part.bool("ignore_merges", default: false)
        byteTokens = try part.bool("byte_fallback", default: false) ? vocabulary.byteTokens() : []
        if let token = part["unk_token"] {
            guard let id = try vocabulary.find(token.string) else {
                throw token.invalid("'\(printable(try token.string))'", expected: "a token of the vocabulary")
            }
            unknown = id
        } else {
            unknown = nil
        }
        if isByteLevel {
            singles = ByteAlphabet.scalars.map { vocabulary.find(String(Unicode.Scalar($0) ?? " ")) ?? -1 }
            byteWords = ignoresMerges ? StringIndexOfBytes(vocabulary.texts) : nil
        } else {
            singles = (0..<128).map { vocabulary.find(String(Unicode.Scalar(UInt8($0)))) ?? -1 }
            byteWords = nil
        }
        let pairs = try Self.readMerges(part.required("merges"), vocabulary, prefix: continuingPrefix)
        var table = PairTable(count: pairs.count)
        for (rank, pair) in pairs.enumerated() { table.set(pair.left, pair.right, rank: UInt32(rank), result: pair.result) }
        merges = table
        let isPlain = continuingPrefix.isEmpty && endSuffix.isEmpty
        boundaries = isPlain ? BoundaryTable(pairs, vocabulary, singles, byteTokens: byteTokens, isByteLevel: isByteLevel) : nil
    }

    struct Merge {
        var left: Int32, right: Int32, result: Int32
    }

    /// `merges`: "left right", or pairs.
    private static func readMerges(
        _ part: TokenizerPart, _ vocabulary: TokenVocabulary, prefix: String
    ) throws(ModelError) -> [Merge] {
        guard let list = part.value.array else { throw part.invalid(part.value.kind, expected: "an array of merges") }
        var merges: [Merge] = []
        merges.reserveCapacity(list.count)
        var joined: [UInt8] = []
        for (rank, entry) in list.enumerated() {
            func invalid(_ found: String, _ expected: String) -> ModelError {
                ModelError(.invalidKey(key: "\(part.key)[\(rank)]", found: found, expected: expected), path: part.path)
            }
            let parts: (String, String)
            switch entry {
            case .string(let text):
                let words = text.utf8.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
                guard words.count == 2 else { throw invalid("'\(printable(text))'", "two tokens and a space between") }
                parts = (String(Substring(words[0])), String(Substring(words[1])))
            case .array(let pair):
                guard pair.count == 2, let left = pair[0].string, let right = pair[1].string else {
                    throw invalid(entry.kind, "a pair of tokens")
                }
                parts = (left, right)
            default: throw invalid(entry.kind, "a pair of tokens")
            }
            joined.removeAll(keepingCapacity: true)
            joined += parts.0.utf8
            joined += parts.1.utf8.dropFirst(prefix.utf8.count)
            guard let left = vocabulary.find(parts.0), let right = vocabulary.find(parts.1),
                let result = vocabulary.find(joined.span)
            else {
                throw invalid(
                    "'\(printable(parts.0)) \(printable(parts.1))'", "two tokens of the vocabulary that together are a third")
            }
            merges.append(Merge(left: left, right: right, result: result))
        }
        return merges
    }

    /// The token of a character.
    @inline(__always)
    func single(_ text: Span<UInt8>) -> Int32 {
        if text.count == 1, text[0] < 0x80 { return singles[Int(text[0])] }
        return vocabulary.find(text) ?? -1
    }

    /// The token that a whole word is, for vocabularies that look before they merge.
    func wholeWord(_ word: Span<UInt8>) -> Int32? {
        isByteLevel ? byteWords?.find(word) : vocabulary.find(word)
    }
}

/// Tokens of a byte-level vocabulary by the bytes that they stand for.
struct StringIndexOfBytes: Sendable {
    private let index: StringIndex

    init(_ texts: StringTable) {
        var table = StringTable()
        for id in texts.indices {
            table.append(bytes: ByteAlphabet.bytes(of: texts.utf8.span.extracting(texts.range(at: id))) ?? [])
        }
        index = StringIndex(table)
    }

    func find(_ bytes: Span<UInt8>) -> Int32? {
        guard bytes.count > 0, let id = index.find(bytes) else { return nil }
        return Int32(id)
    }
}

/// Which first tokens can ever be merged across the boundary between them.
struct BoundaryTable: Sendable {
    /// For tokens of single bytes or ASCII characters: 256 rows of 256 bits by byte.
    private var ascii: [UInt64] = Array(repeating: 0, count: 1024)
    private var others: PairTable

    /// - Returns: `nil` when merges reach into tokens of single bytes, where texts no longer tell the characters.
    init?(
        _ merges: [BytePairModel.Merge], _ vocabulary: TokenVocabulary, _ singles: [Int32], byteTokens: [Int32], isByteLevel: Bool
    ) {
        let raw = Set(byteTokens)
        var bytes: [Int32: UInt8] = [:]
        for (byte, id) in singles.enumerated() where id >= 0 { bytes[id] = UInt8(byte) }
        // A merge joins the last character of its left part and the first of its right part.
        var pairs: Set<UInt64> = []
        let utf8 = vocabulary.texts.utf8.span
        var firsts: [Int32: Int32] = [:], lasts: [Int32: Int32] = [:]
        for merge in merges {
            if raw.contains(merge.left) || raw.contains(merge.right) { return nil }
            let left = vocabulary.texts.range(at: Int(merge.left)), right = vocabulary.texts.range(at: Int(merge.right))
            if lasts[merge.left] == nil {
                let start = utf8.extracting(left).scalarStart(before: left.count)
                lasts[merge.left] = vocabulary.find(utf8.extracting(left.lowerBound + start..<left.upperBound)) ?? -1
            }
            if firsts[merge.right] == nil {
                let count = utf8.scalar(at: right.lowerBound).count
                firsts[merge.right] = vocabulary.find(utf8.extracting(right.lowerBound..<right.lowerBound + count)) ?? -1
            }
            if let last = lasts[merge.left], let first = firsts[merge.right], last >= 0, first >= 0 {
                pairs.insert(PairTable.key(last, first))
            }
        }
        others = PairTable(count: pairs.count)
        for pair in pairs {
            let left = Int32(truncatingIfNeeded: pair >> 32), right = Int32(truncatingIfNeeded: pair)
            if let first = bytes[left], let second = bytes[right] {
                ascii[Int(first) * 4 + Int(second >> 6)] |= 1 << UInt64(second & 63)
            } else {
                others.set(left, right, rank: 0, result: 0)
            }
        }
    }

    /// Whether two bytes (of a byte-level word), or two ASCII characters, can be merged.
    @inline(__always)
    func joins(_ left: UInt8, _ right: UInt8) -> Bool { ascii[Int(left) * 4 + Int(right >> 6)] >> UInt64(right & 63) & 1 != 0 }

    /// Whether two other first tokens can be merged.
    @inline(__always)
    func joins(_ left: Int32, _ right: Int32) -> Bool { others.find(left, right).rank == 0 }
}
