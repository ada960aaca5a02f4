import Formats

/// `decoder` of `tokenizer.json`: how the texts of tokens become a text.
struct TokenDecoding: Sendable {
    private enum Step: Sendable {
        case byteLevel
        case byteFallback
        case fuse
        case replace(Pattern, [UInt8])
        case strip(UInt32, start: Int, stop: Int)
        case metaspace([UInt8], dropsFirst: Bool)
        case wordPiece(prefix: [UInt8], cleansUp: Bool)
        case suffix([UInt8])
    }

    private let steps: [Step]

    /// - Parameter part: `decoder`; `nil` puts a space between tokens.
    init(_ part: TokenizerPart?) throws(ModelError) {
        var steps: [Step] = []
        var growth = 1
        for part in try part?.steps("decoders") ?? [] {
            let step = try Self.read(part)
            if case .replace(_, let content) = step { growth = try part.grown(growth, by: content.count) }
            steps.append(step)
        }
        self.steps = steps
    }

    private static func read(_ part: TokenizerPart) throws(ModelError) -> Step {
        let type = try part.type
        switch type {
        case "ByteLevel": return .byteLevel
        case "ByteFallback": return .byteFallback
        case "Fuse": return .fuse
        case "Replace": return .replace(try part.pattern("pattern"), Array(try part.string("content").utf8))
        case "Strip":
            let content = try part.required("content")
            let scalars = Array(try content.string.unicodeScalars)
            guard scalars.count == 1 else { throw content.invalid(content.value.kind, expected: "one character") }
            return .strip(
                scalars[0].value, start: try part.integer("start", in: 0...1_000_000), stop: try part.integer("stop", in: 0...1_000_000))
        case "Metaspace":
            let never = try part["prepend_scheme"] == nil
                ? !part.bool("add_prefix_space", default: true) : part.string("prepend_scheme") == "never"
            return .metaspace(Array(try part.string("replacement").utf8), dropsFirst: !never)
        case "WordPiece":
            return .wordPiece(
                prefix: Array(try part.string("prefix", default: "##").utf8), cleansUp: try part.bool("cleanup", default: true))
        case "BPEDecoder": return .suffix(Array(try part.string("suffix", default: "</w>").utf8))
        default: throw part.unknown(type, "decoder")
        }
    }

    /// The text of tokens, as bytes that need not be whole UTF-8 at the ends.
    func decoded(_ tokens: [[UInt8]]) -> [UInt8] {
        if steps.isEmpty { return Array(tokens.joined(separator: [0x20])) }
        var tokens = tokens
        for step in steps { apply(step, to: &tokens) }
        return Array(tokens.joined())
    }

    private func apply(_ step: Step, to tokens: inout [[UInt8]]) {
        switch step {
        case .byteLevel: tokens = [tokens.flatMap { ByteAlphabet.bytes(of: $0.span) ?? $0 }]
        case .byteFallback: joinBytes(&tokens)
        case .fuse: tokens = [Array(tokens.joined())]
        case .replace(let pattern, let content):
            for index in tokens.indices { tokens[index] = Self.replaced(tokens[index], pattern, content) }
        case .strip(let scalar, let start, let stop):
            for index in tokens.indices { tokens[index] = Self.stripped(tokens[index], scalar, start, stop) }
        case .metaspace(let replacement, let dropsFirst):
            let pattern = Pattern(text: String(decoding: replacement, as: UTF8.self))
            for index in tokens.indices {
                tokens[index] = Self.replaced(tokens[index], pattern, index == 0 && dropsFirst ? [] : [0x20])
            }
        case .wordPiece(let prefix, let cleansUp):
            for index in tokens.indices {
                if index > 0 {
                    tokens[index] = tokens[index].starts(with: prefix) ? Array(tokens[index].dropFirst(prefix.count)) : [0x20] + tokens[index]
                }
                if cleansUp { tokens[index] = Self.cleaned(tokens[index]) }
            }
        case .suffix(let suffix):
            let pattern = Pattern(text: String(decoding: suffix, as: UTF8.self))
            for index in tokens.indices {
                tokens[index] = Self.replaced(tokens[index], pattern, index == tokens.count - 1 ? [] : [0x20])
            }
        }
    }

    /// Runs of `<0xNN>` become their bytes, or U+FFFD for each when they are no UTF-8.
    private func joinBytes(_ tokens: inout [[UInt8]]) {
        var result: [[UInt8]] = []
        var run: [UInt8] = []
        func close() {
            guard !run.isEmpty else { return }
            if String(validating: run, as: UTF8.self) != nil {
                result.append(run)
            } else {
                for _ in run { result.append([0xEF, 0xBF, 0xBD]) }
            }
            run.removeAll(keepingCapacity: true)
        }
        for token in tokens {
            if let byte = Self.byte(token) {
                run.append(byte)
            } else {
                close()
                result.append(token)
            }
        }
        close()
        tokens = result
    }

    private static func byte(_ token: [UInt8]) -> UInt8? {
        guard token.count == 6, token.starts(with: [0x3C, 0x30, 0x78]), token[5] == 0x3E else { return nil }
        return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
    }

    private static func replaced(_ token: [UInt8], _ pattern: Pattern, _ content: [UInt8]) -> [UInt8] {
        let span = token.span
        var result: [UInt8] = []
        var end = 0
        var matches = PatternMatches(pattern)
        while let match = matches.next(in: span) {
            result.append(span.extracting(end..<match.lowerBound))
            result += content
            end = match.upperBound
        }
        if end == 0 { return token }
        result.append(span.extracting(end..<span.count))
        return result
    }

    private static func stripped(_ token: [UInt8], _ scalar: UInt32, _ start: Int, _ stop: Int) -> [UInt8] {
        let span = token.span
        var first = 0, end = span.count
        var left = start
        while left > 0, first < end, span.scalar(at: first).value == scalar {
            first += span.scalar(at: first).count
            left -= 1
        }
        left = stop
        while left > 0, end > first {
            let last = span.scalarStart(before: end)
            guard span.scalar(at: last).value == scalar else { break }
            end = last
            left -= 1
        }
        return Array(token[first..<end])
    }

    private static let cleanUps: [(Pattern, [UInt8])] = [
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" do not", " don't"),
        (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ].map { (Pattern(text: $0.0), Array($0.1.utf8)) }

    private static func cleaned(_ token: [UInt8]) -> [UInt8] {
        cleanUps.reduce(token) { replaced($0, $1.0, $1.1) }
    }
}
