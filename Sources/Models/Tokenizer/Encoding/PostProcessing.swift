import Formats

/// `post_processor` of `tokenizer.json`: the tokens put before and after a single text.
struct PostProcessing: Sendable {
    private(set) var before: [Int] = []
    private(set) var after: [Int] = []

    /// - Parameter part: `post_processor`; `nil` adds nothing.
    init(_ part: TokenizerPart?) throws(ModelError) {
        for step in try part?.steps("processors") ?? [] { try read(step) }
    }

    private mutating func read(_ part: TokenizerPart) throws(ModelError) {
        let type = try part.type
        switch type {
        case "ByteLevel": break
        case "TemplateProcessing": try readTemplate(part)
        case "BertProcessing", "RobertaProcessing":
            for (key, isFirst) in [("cls", true), ("sep", false)] {
                let pair = try part.required(key)
                guard let id = pair.value.array?.last?.integer, id >= 0, id < Int(Int32.max) else {
                    throw pair.invalid(pair.value.kind, expected: "a token and its id")
                }
                if isFirst { before.insert(id, at: 0) } else { after.append(id) }
            }
        default: throw part.unknown(type, "post-processor")
        }
    }

    private mutating func readTemplate(_ part: TokenizerPart) throws(ModelError) {
        var first: [Int] = [], last: [Int] = []
        var hasText = false
        for entry in try part.required("single").elements {
            if entry["Sequence"] != nil {
                hasText = true
            } else {
                let name = try entry.required("SpecialToken").string("id")
                let tokens = try part.required("special_tokens")
                guard let ids = tokens.value[name]?["ids"]?.array else {
                    throw ModelError(.missingKey(key: "\(tokens.key).\(printable(name)).ids"), path: part.path)
                }
                for id in ids {
                    guard let id = id.integer, id >= 0, id < Int(Int32.max) else {
                        throw tokens.invalid(id.kind, expected: "token ids")
                    }
                    if hasText { last.append(id) } else { first.append(id) }
                }
            }
        }
        before = first + before
        after += last
    }
}
