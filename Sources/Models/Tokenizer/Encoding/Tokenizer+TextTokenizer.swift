/// Evaluation reads texts through this.
extension Tokenizer: TextTokenizer {
    public var vocabularyCount: Int { model.vocabulary.count }
    public var bos: Int? { special.bos }
    public var eos: Int? { special.eos }
    public var addsBOS: Bool { special.addsBOS }

    public func ids(of text: String, parsesSpecial: Bool) throws -> [Int] {
        try encode(text, addsSpecialTokens: false, parsesSpecial: parsesSpecial)
    }

    public func byteCount(of ids: [Int]) -> Int { decodedBytes(ids, skipsSpecial: true).count }
}
