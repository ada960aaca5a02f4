import Formats

/// The tokens of a model by text and by id. Ids may leave gaps.
struct TokenVocabulary: Sendable {
    /// Texts by id, as the model sees them; empty for ids without a token.
    let texts: StringTable
    private let index: StringIndex

    /// - Throws: `.invalidKey` when two tokens share an id or a text, or an id is far outside the vocabulary.
    init(_ entries: [(text: String, id: Int)], key: String, path: String?) throws(ModelError) {
        let limit = entries.count + 262_144
        var slots: [String?] = []
        slots.reserveCapacity(entries.count)
        for (text, id) in entries {
            func invalid(_ found: String, _ expected: String) -> ModelError {
                ModelError(.invalidKey(key: "\(key), id of '\(printable(text))'", found: found, expected: expected), path: path)
            }
            guard id >= 0, id < limit else { throw invalid("\(id)", "0..<\(limit)") }
            while slots.count <= id { slots.append(nil) }
            if let other = slots[id] { throw invalid("\(id), which is the id of '\(printable(other))'", "an id of its own") }
            slots[id] = text
        }
        var texts = StringTable()
        for text in slots { texts.append(text ?? "") }
        self.texts = texts
        var clash: (Int, Int)?
        index = StringIndex(texts) { first, second in
            if clash == nil, !texts.range(at: first).isEmpty { clash = (first, second) }
        }
        if let (first, second) = clash {
            throw ModelError(
                .invalidKey(
                    key: key, found: "'\(printable(texts[first]))' with the ids \(first) and \(second)", expected: "each token once"),
                path: path)
        }
    }

    /// `vocab` as an object of texts and ids.
    init(object part: TokenizerPart) throws(ModelError) {
        guard let object = part.value.object else { throw part.invalid(part.value.kind, expected: "an object of tokens and ids") }
        var entries: [(String, Int)] = []
        entries.reserveCapacity(object.count)
        for text in object.keys {
            guard let id = object[text]?.integer else {
                throw ModelError(
                    .invalidKey(
                        key: "\(part.key), id of '\(printable(text))'", found: object[text]?.kind ?? "nothing", expected: "a token id"),
                    path: part.path)
            }
            entries.append((text, id))
        }
        try self.init(entries, key: part.key, path: part.path)
    }

    /// One more than the highest id.
    var count: Int { texts.count }

    func find(_ text: Span<UInt8>) -> Int32? {
        guard text.count > 0, let id = index.find(text) else { return nil }
        return Int32(id)
    }

    func find(_ text: String) -> Int32? { find(text.utf8Span.span) }

    /// The ids of the tokens `<0x00>` ... `<0xFF>`, -1 for those that are not there.
    func byteTokens() -> [Int32] {
        let digits = Array("0123456789ABCDEF")
        return (0..<256).map { find("<0x\(digits[$0 >> 4])\(digits[$0 & 15])>") ?? -1 }
    }
}
