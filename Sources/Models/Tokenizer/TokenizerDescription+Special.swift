import Formats

/// Special tokens, flags and chat templates of a Hugging Face directory, read as the reference converter reads them.
extension TokenizerDescription {
    private static let roles: [Role] = [.bos, .eos, .unk, .sep, .pad, .cls, .mask]

    mutating func readSpecialTokens(_ source: HuggingFaceTokenizer) throws(ModelError) {
        readNormalizer(source.normalizer)
        var names: [Role: String] = [:]
        for role in Self.roles { names[role] = source.specialToken(role) }
        var roles = Self.roles
        if source.tokenizer != nil {
            names[.bos] = names[.bos] ?? names[.cls]
            names[.eos] = names[.eos] ?? names[.sep]
            readPostProcessor(source, &names, &roles)
        }
        if let config = source.config {
            for role in roles {
                if let isAdded = config["add_\(role.rawValue)_token"]?.bool, self.isAdded(role) == nil { setAdded(role, isAdded) }
                guard let name = names[role] else { continue }
                if let token = source.addedTokens.first(where: { ExactString($0.content) == ExactString(name) }) {
                    try set(role, token.id, source: "\(role.rawValue)_token", path: "tokenizer_config.json")
                }
            }
        }
        for role in roles {
            let key = "\(role.rawValue)_token_id"
            guard let value = source.files.config[key] ?? source.files.config["text_config"]?[key] else { continue }
            // Several ids are several ways to end a text: that is the runtime's business, not one special token.
            if let id = value.integer { try set(role, id, source: key, path: "config.json") }
        }
    }

    /// Remembers a special token's id unless an earlier source named one.
    private mutating func set(_ role: Role, _ id: Int, source: String, path: String) throws(ModelError) {
        if id == -1 { return }  // how configurations say "none"
        guard id >= 0 else {
            throw ModelError(.invalidKey(key: source, found: "\(id)", expected: "a token id"), path: path)
        }
        setIfMissing(role, id)
    }

    /// Finds out whether texts get a first and a last token, from the template that `tokenizer.json` wraps around them.
    private mutating func readPostProcessor(_ source: HuggingFaceTokenizer, _ names: inout [Role: String], _ roles: inout [Role]) {
        guard let processor = source.tokenizer?["post_processor"], !processor.isNull else { return }
        for step in processor["processors"]?.array ?? [processor] {
            switch step["type"]?.string {
            case "ByteLevel":
                for role in [Role.bos, .eos] where isAdded(role) == nil { setAdded(role, false) }
            case "RobertaProcessing":
                for role in [Role.bos, .eos, .sep] { setAdded(role, true) }
                names[.cls] = names[.cls] ?? step["cls"]?.array?.first?.string
                names[.sep] = names[.sep] ?? step["sep"]?.array?.first?.string
            case "TemplateProcessing": readTemplate(step, hasConfig: source.config != nil, &names, &roles)
            default: break
            }
        }
    }

    private mutating func readTemplate(_ step: JSONValue, hasConfig: Bool, _ names: inout [Role: String], _ roles: inout [Role]) {
        func special(_ entry: JSONValue?) -> String? { entry?["SpecialToken"]?["id"]?.string }
        let single = step["single"]?.array ?? []
        var first: String?, last: String?
        if single.count > 1 {
            first = special(single.first)
            last = special(single.last)
            if let first {
                if names[.bos] == nil { names[.bos] = first }
                if hasConfig, names[.bos] != first, names[.cls] == nil { names[.cls] = first }
                setAdded(.bos, first == names[.bos] || first == names[.cls])
            }
            if let last {
                if hasConfig, let eos = names[.eos], eos != last {
                    // The configured end of text and the one that is really added differ: the first becomes an end of turn.
                    if let spare = [Role.eot, .eom].first(where: { !roles.contains($0) }) {
                        roles.append(spare)
                        names[spare] = eos
                    }
                }
                names[.eos] = last
                setAdded(.eos, true)
            }
        }
        readPairTemplate(step["pair"]?.array ?? [], first: first, last: last, names: &names)
    }

    /// What stands between two texts decides whether a separator is added.
    private mutating func readPairTemplate(_ pair: [JSONValue], first: String?, last: String?, names: inout [Role: String]) {
        func special(_ entry: JSONValue?) -> String? { entry?["SpecialToken"]?["id"]?.string }
        var pair = pair[...]
        if let first, special(pair.first) == first { pair.removeFirst() }
        if let last, !pair.isEmpty, special(pair.last) == last { pair.removeLast() }
        guard pair.count > 2, pair.first?["Sequence"]?["id"]?.string == "A", pair.last?["Sequence"]?["id"]?.string == "B" else { return }
        let between = Array(pair.dropFirst().dropLast())
        let separators = [names[.sep], names[.eos]].compactMap { $0 }
        var isAdded = false
        if let token = special(between[0]), separators.contains(token), last == nil { isAdded = true }
        if between.count == 2, let token = special(between[1]), separators.contains(token) { isAdded = true }
        setAdded(.sep, isAdded)
        if isAdded, names[.sep] == nil { names[.sep] = names[.eos] }
    }

    private mutating func readNormalizer(_ normalizer: JSONValue) {
        switch normalizer["type"]?.string {
        case "Lowercase": lowercase = true
        case "StripAccents": stripAccents = true
        case "BertNormalizer":
            lowercase = normalizer["lowercase"]?.bool ?? lowercase
            stripAccents = normalizer["strip_accents"]?.bool ?? stripAccents
        case "Sequence": for step in normalizer["normalizers"]?.array ?? [] { readNormalizer(step) }
        default: break
        }
    }

    /// The chat templates of a directory.
    /// - Parameter prefersFile: whether a template in a file of its own comes before that of `tokenizer_config.json`: so it is in
    ///   transformers; the reference converter has it the other way round.
    static func chatTemplates(
        of source: HuggingFaceTokenizer, prefersFile: Bool
    ) throws(ModelError) -> [(name: String, template: String)] {
        let folder = HuggingFaceDirectory.chatTemplateFolder + "/"
        let main = source.files.files["chat_template.jinja"]
        let named = source.files.files.filter { $0.key.hasPrefix(folder) && $0.key.hasSuffix(".jinja") }.sorted { $0.key < $1.key }
        // The reference converter looks at named templates only beside a main one.
        let hasFiles = main != nil || prefersFile && !named.isEmpty
        var value = prefersFile && hasFiles ? nil : source.config?["chat_template"]
        if value == nil, hasFiles {
            var templates: [JSONValue] = []
            if let main { templates.append(["name": "default", "template": .string(try text(main, "chat_template.jinja"))]) }
            for (path, bytes) in named {
                let name = path.dropFirst(folder.count).dropLast(".jinja".count)
                templates.append(["name": .string(String(name)), "template": .string(try text(bytes, path))])
            }
            value = .array(templates)
        } else if value == nil {
            value = try HuggingFaceTokenizer.parse("chat_template.json", of: source.files)?["chat_template"]
        }
        switch value {
        case nil, .null?: return []
        case .string(let template)?: return [("default", template)]
        case .array(let entries)?:
            var templates: [(name: String, template: String)] = []
            for entry in entries {
                guard let template = entry["template"]?.string, let name = entry["name"]?.string, !name.isEmpty else { continue }
                templates.append((name, template))
            }
            return templates
        case let other?:
            throw ModelError(
                .invalidKey(key: "chat_template", found: other.kind, expected: "a template or a list of named ones"),
                path: "tokenizer_config.json")
        }
    }

    private static func text(_ bytes: TensorBytes, _ path: String) throws(ModelError) -> String {
        guard let text = String(validating: bytes.array, as: UTF8.self) else {
            throw ModelError(.invalidKey(key: path, found: "bytes that are not UTF-8", expected: "UTF-8"), path: path)
        }
        return text
    }
}
