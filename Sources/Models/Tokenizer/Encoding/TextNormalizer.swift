import Formats

/// `normalizer` of `tokenizer.json`: what happens to a text before it is cut.
struct TextNormalizer: Sendable {
    private enum Step: Sendable {
        case form(UnicodeNormalization)
        case lowercase
        case stripMarks(ScalarTable)
        case strip(left: Bool, right: Bool)
        case prepend([UInt8])
        case replace(Pattern, [UInt8])
        case byteLevel
        case cleanText
        case chineseCharacters
        case charsmap(PrecompiledCharsmap)
        case nmt

        /// The most bytes that it makes of one, where hostile files decide on that.
        var growth: Int {
            switch self {
            case .prepend(let text), .replace(_, let text): text.count
            case .byteLevel: 2
            case .charsmap(let map): map.longestReplacement
            default: 1
            }
        }
    }

    private let steps: [Step]

    /// - Parameter part: `normalizer`; `nil` leaves texts as they are.
    init(_ part: TokenizerPart?) throws(ModelError) {
        var steps: [Step] = []
        var growth = 1
        for part in try part?.steps("normalizers") ?? [] {
            for step in try Self.read(part) {
                growth = try part.grown(growth, by: step.growth)
                steps.append(step)
            }
        }
        self.steps = steps
    }

    var isIdentity: Bool { steps.isEmpty }

    private static func read(_ part: TokenizerPart) throws(ModelError) -> [Step] {
        let type = try part.type
        if let form = UnicodeNormalization.Form(rawValue: type) { return [.form(.form(form))] }
        switch type {
        case "Lowercase": return [.lowercase]
        case "StripAccents": return [.stripMarks(UnicodeTables.accentTable)]
        case "Strip":
            return try [.strip(left: part.bool("strip_left", default: true), right: part.bool("strip_right", default: true))]
        case "Prepend": return try [.prepend(Array(part.string("prepend").utf8))]
        case "Replace": return try [.replace(part.pattern("pattern"), Array(part.string("content").utf8))]
        case "ByteLevel": return [.byteLevel]
        case "Nmt": return [.nmt]
        case "Precompiled":
            // Without rules nothing changes.
            guard let map = part["precompiled_charsmap"], try !map.string.isEmpty else { return [] }
            guard let bytes = try Base64.decoded(map.string) else { throw map.invalid("no base64", expected: "base64") }
            guard let charsmap = PrecompiledCharsmap(bytes) else {
                throw map.invalid("\(bytes.count) bytes that are no rules", expected: "SentencePiece's compiled rules")
            }
            return [.charsmap(charsmap)]
        case "BertNormalizer":
            let lowercase = try part.bool("lowercase", default: true)
            var steps: [Step] = []
            if try part.bool("clean_text", default: true) { steps.append(.cleanText) }
            if try part.bool("handle_chinese_chars", default: true) { steps.append(.chineseCharacters) }
            if try part.bool("strip_accents", default: lowercase) { steps += [.form(.form(.nfd)), .stripMarks(UnicodeTables.nonspacingTable)] }
            if lowercase { steps.append(.lowercase) }
            return steps
        default: throw part.unknown(type, "normalizer")
        }
    }

    func normalized(_ text: [UInt8]) -> [UInt8] {
        var text = text
        for step in steps { text = apply(step, to: text) }
        return text
    }

    private func apply(_ step: Step, to text: [UInt8]) -> [UInt8] {
        switch step {
        case .form(let form): return form.normalized(text.span)
        case .lowercase: return mapped(text) { scalar, result in Self.appendLowercase(scalar, &result) }
        case .stripMarks(let marks):
            return mapped(text) { scalar, result in
                if !marks.contains(scalar) { result.append(scalar: scalar) }
            }
        case .strip(let left, let right): return Self.stripped(text, left: left, right: right)
        case .prepend(let prefix): return text.isEmpty ? text : prefix + text
        case .replace(let pattern, let content):
            var result: [UInt8] = []
            result.reserveCapacity(text.count + text.count / 2)
            let span = text.span
            var end = 0
            var matches = PatternMatches(pattern)
            while let match = matches.next(in: span) {
                result.append(span.extracting(end..<match.lowerBound))
                result += content
                end = match.upperBound
            }
            result.append(span.extracting(end..<span.count))
            return result
        case .byteLevel: return ByteAlphabet.encoded(text.span)
        case .cleanText:
            return mapped(text) { scalar, result in
                // Some white space is removed as a control character.
                if UnicodeTables.controlTable.contains(scalar) { return }
                if Self.isWhitespace(scalar) { result.append(0x20) } else { result.append(scalar: scalar) }
            }
        case .chineseCharacters:
            return mapped(text) { scalar, result in
                let isChinese = Self.chinese.contains(scalar)
                if isChinese { result.append(0x20) }
                result.append(scalar: scalar)
                if isChinese { result.append(0x20) }
            }
        case .charsmap(let map): return map.normalized(text.span)
        case .nmt:
            return mapped(text) { scalar, result in
                switch scalar {
                case 1...8, 0xB, 0xE...0x1F, 0x7F, 0x8F, 0x9F: break
                case 9, 0xA, 0xC, 0xD, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD: result.append(0x20)
                default: result.append(scalar: scalar)
                }
            }
        }
    }

    private func mapped(_ text: [UInt8], _ append: (UInt32, inout [UInt8]) -> Void) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        let span = text.span
        var place = 0
        while place < span.count {
            let (scalar, count) = span.scalar(at: place)
            append(scalar, &result)
            place += count
        }
        return result
    }

    private static func appendLowercase(_ scalar: UInt32, _ result: inout [UInt8]) {
        switch scalar {
        case 0x41...0x5A: result.append(UInt8(scalar + 0x20))
        case 0..<0x80: result.append(UInt8(scalar))
        default:
            guard let character = Unicode.Scalar(scalar) else { return }
            result += character.properties.lowercaseMapping.utf8
        }
    }

    private static func stripped(_ text: [UInt8], left: Bool, right: Bool) -> [UInt8] {
        let span = text.span
        var start = 0, end = span.count
        while left, start < end {
            let (scalar, count) = span.scalar(at: start)
            if !isWhitespace(scalar) { break }
            start += count
        }
        while right, end > start {
            let last = span.scalarStart(before: end)
            if !isWhitespace(span.scalar(at: last).value) { break }
            end = last
        }
        return Array(text[start..<end])
    }

    private static let spaces = ScalarTable(.whitespace)
    static func isWhitespace(_ scalar: UInt32) -> Bool { spaces.contains(scalar) }

    private static let chinese = ScalarTable(ScalarSet([
        0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F, 0x2B920...0x2CEAF, 0xF900...0xFAFF,
        0x2F800...0x2FA1F,
    ]))
}
