import Yams

/// Strict YAML: one document, no tags, no anchors or aliases, every key once, plain scalars as YAML 1.2's core schema
/// reads them, and caps on size and depth. JSON is YAML.
extension RecipeNode {
    static let maximumByteCount = 256 << 10
    static let maximumDepth = 32

    /// Parses a document.
    /// - Throws: `RecipeError` with the line and column of the first mistake.
    public static func parse(_ bytes: [UInt8], file: String) throws(RecipeError) -> RecipeNode {
        let whole = RecipeLocation(file: file)
        guard bytes.count <= maximumByteCount else {
            throw RecipeError("a recipe of \(bytes.count) bytes, at most \(maximumByteCount) are allowed", at: whole)
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw RecipeError("the recipe is not UTF-8", at: lineAndColumn(ofInvalidUTF8In: bytes, file: file))
        }
        try refuseAliasBombs(bytes, file: file)
        let parser: Parser
        let root: Node?
        do {
            // No resolver rules: what a scalar means is decided below. The encoding must not follow the environment.
            parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            root = try parser.singleRoot()
        } catch {
            throw RecipeError(error, in: file)
        }
        // Nodes hold their anchors weakly; the parser owns them.
        defer { withExtendedLifetime(parser) {} }
        guard let root else { throw RecipeError("the recipe is empty", at: whole) }
        return try RecipeNode(root, file: file, depth: 0, isKey: false)
    }

    private init(_ node: Node, file: String, depth: Int, isKey: Bool) throws(RecipeError) {
        location = RecipeLocation(file: file, line: node.mark?.line, column: node.mark?.column)
        guard depth < RecipeNode.maximumDepth else {
            throw RecipeError("nested more than \(RecipeNode.maximumDepth) levels deep", at: location)
        }
        if let anchor = node.anchor {
            throw RecipeError("the anchor '&\(anchor.rawValue)': anchors and aliases are not allowed", at: location)
        }
        switch node {
        case .scalar(let scalar):
            // The parser gives quoted scalars the tag of text, and keys too, when it looks for duplicates.
            let isText = isKey || scalar.style != .plain
            try RecipeNode.refuse(tag: scalar.tag.rawValue, implied: isText ? Tag.Name.str.rawValue : "", at: location)
            value = scalar.style == .plain ? try plainScalar(scalar.string, at: location) : .text(scalar.string)
        case .sequence(let sequence):
            try RecipeNode.refuse(tag: sequence.tag.rawValue, implied: "", at: location)
            var elements: [RecipeNode] = []
            for element in sequence { elements.append(try RecipeNode(element, file: file, depth: depth + 1, isKey: false)) }
            value = .sequence(elements)
        case .mapping(let mapping):
            try RecipeNode.refuse(tag: mapping.tag.rawValue, implied: "", at: location)
            var entries: [Entry] = []
            var seen: Set<String> = []
            for (key, value) in mapping {
                guard case .scalar(let scalar) = key else {
                    throw RecipeError(
                        "a key is a list or a mapping, expected text",
                        at: RecipeLocation(file: file, line: key.mark?.line, column: key.mark?.column))
                }
                let keyNode = try RecipeNode(key, file: file, depth: depth + 1, isKey: true)
                guard seen.insert(scalar.string).inserted else {
                    throw RecipeError("the key '\(scalar.string)' stands twice", at: keyNode.location)
                }
                entries.append(
                    Entry(
                        key: scalar.string, keyLocation: keyNode.location,
                        value: try RecipeNode(value, file: file, depth: depth + 1, isKey: false)))
            }
            value = .mapping(entries)
        case .alias: throw RecipeError("anchors and aliases are not allowed", at: location)
        }
    }

    private static func refuse(tag: String, implied: String, at location: RecipeLocation) throws(RecipeError) {
        guard tag == implied || tag.isEmpty else {
            throw RecipeError("the tag '\(tag)': tags are not allowed", at: location)
        }
    }
}

extension RecipeError {
    /// The parser's own error, in our form.
    fileprivate init(_ error: any Error, in file: String) {
        func at(_ mark: Mark) -> RecipeLocation { RecipeLocation(file: file, line: mark.line, column: mark.column) }
        switch error as? YamlError {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _):
            self.init("not YAML: " + [context?.text, problem].compactMap(\.self).joined(separator: ", "), at: at(mark))
        case .composer(_, "found undefined alias", let mark, _):
            self.init("an alias: anchors and aliases are not allowed; put text that starts with '*' in quotes", at: at(mark))
        case .composer(_, "but found another document", let mark, _):
            self.init("a second document, only one is allowed", at: at(mark))
        case .composer(_, let problem, let mark, _): self.init("not YAML: \(problem)", at: at(mark))
        case .duplicatedKeysInMapping(let keys, let context):
            self.init("the key '\(keys.first ?? "")' stands twice", at: at(context.mark))
        case .reader(let problem, _, _, _): self.init("not YAML: \(problem)", at: RecipeLocation(file: file))
        default: self.init("not YAML", at: RecipeLocation(file: file))
        }
    }
}

/// Refuses a text with anchors and many aliases before the parser expands them.
///
/// The parser copies an aliased node in constant time, but hashes keys: aliases of aliases would take exponential time.
/// Words that merely look like anchors (in quoted text, say) are counted too, so a few are let through; those that are
/// anchors in earnest are found exactly, afterwards.
private func refuseAliasBombs(_ bytes: [UInt8], file: String) throws(RecipeError) {
    var anchors = 0
    var aliases = 0
    var line = 1
    var previous = UInt8(ascii: "\n")
    for (index, byte) in bytes.enumerated() {
        if byte == UInt8(ascii: "&") || byte == UInt8(ascii: "*"), index + 1 < bytes.count,
            " \t\r\n[{,:-?".utf8.contains(previous), isAnchorCharacter(bytes[index + 1]) {
            if byte == UInt8(ascii: "&") { anchors += 1 } else { aliases += 1 }
            guard anchors == 0 || aliases <= 8 else {
                throw RecipeError("anchors and aliases are not allowed", at: RecipeLocation(file: file, line: line))
            }
        }
        if byte == UInt8(ascii: "\n") { line += 1 }
        previous = byte
    }
}

private func isAnchorCharacter(_ byte: UInt8) -> Bool {
    let scalar = Unicode.Scalar(byte)
    return ("0"..."9").contains(scalar) || ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar) || scalar == "_"
        || scalar == "-"
}

private func lineAndColumn(ofInvalidUTF8In bytes: [UInt8], file: String) -> RecipeLocation {
    // Repairing keeps everything before the first bad byte as it is; what follows the common part is bad.
    let repaired = String(decoding: bytes, as: UTF8.self)
    let offset = zip(repaired.utf8, bytes).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? bytes.count
    let before = String(decoding: bytes[..<offset], as: UTF8.self).unicodeScalars
    let lineStart = before.lastIndex(of: "\n").map(before.index(after:)) ?? before.startIndex
    return RecipeLocation(
        file: file, line: before.count { $0 == "\n" } + 1, column: before.distance(from: lineStart, to: before.endIndex) + 1)
}
