/// Cuts a template into text and the words of its tags.
///
/// Blanks around tags go as Jinja's `trim_blocks` and `lstrip_blocks` have it, which is how chat templates are meant: the line break
/// after `%}` and `#}` goes, and so do the blanks before `{%` and `{#` at the start of a line; a `-` inside a tag takes all white
/// space on its side, a `+` keeps it.
struct TemplateLexer {
    let source: [Unicode.Scalar]
    var at = 0
    var line = 1
    private var tokens: [TemplateToken] = []
    /// Whether what was read last ended a line.
    private var startsLine = true

    /// The tokens of a template; the last is `.end`.
    static func tokens(of template: String) throws(TemplateError) -> [TemplateToken] {
        guard template.utf8.count <= TemplateLimit.byteCount else {
            throw TemplateError(why: "it has \(template.utf8.count) bytes, more than \(TemplateLimit.byteCount)", line: 1)
        }
        var lexer = TemplateLexer(template)
        while lexer.at < lexer.source.count { try lexer.scanText() }
        lexer.append(.end)
        return lexer.tokens
    }

    private init(_ template: String) {
        var scalars: [Unicode.Scalar] = []
        scalars.reserveCapacity(template.utf8.count)
        var isAfterReturn = false
        for scalar in template.unicodeScalars {
            // Every kind of line break counts as one line feed.
            if scalar == "\r" { scalars.append("\n") } else if scalar != "\n" || !isAfterReturn { scalars.append(scalar) }
            isAfterReturn = scalar == "\r"
        }
        // A file's last line break is none of the text.
        if scalars.last == "\n" { scalars.removeLast() }
        source = scalars
    }

    mutating func append(_ kind: TemplateToken.Kind) { tokens.append(TemplateToken(kind: kind, line: line)) }

    func peek(_ offset: Int = 0) -> Unicode.Scalar? { at + offset < source.count ? source[at + offset] : nil }

    func matches(_ text: String, at place: Int) -> Bool {
        var place = place
        for scalar in text.unicodeScalars {
            guard place < source.count, source[place] == scalar else { return false }
            place += 1
        }
        return true
    }

    /// Moves on, counting lines.
    mutating func advance(to place: Int) {
        for index in at..<place where source[index] == "\n" { line += 1 }
        at = place
    }

    mutating func skipSpace() {
        var place = at
        while place < source.count, source[place].isTemplateSpace { place += 1 }
        advance(to: place)
    }

    func error(_ why: String) -> TemplateError { TemplateError(why: why, line: line) }

    private mutating func scanText() throws(TemplateError) {
        let start = at
        var place = at
        while place < source.count, !opensTag(place) { place += 1 }
        guard place < source.count else {
            appendText(start..<place)
            advance(to: place)
            return
        }
        appendText(start..<textEnd(start, place))
        advance(to: place)
        let kind = source[place + 1]
        let isSigned = peek(2) == "-" || peek(2) == "+"
        at += isSigned ? 3 : 2
        startsLine = false
        switch kind {
        case "#": try skipComment()
        case "%":
            append(.tagBegin)
            try scanTag(closing: "%")
        default:
            append(.outputBegin)
            try scanTag(closing: "}")
        }
    }

    private func opensTag(_ place: Int) -> Bool {
        guard source[place] == "{", place + 1 < source.count else { return false }
        return source[place + 1] == "{" || source[place + 1] == "%" || source[place + 1] == "#"
    }

    private mutating func appendText(_ range: Range<Int>) {
        guard !range.isEmpty else { return }
        var text = String.UnicodeScalarView()
        text.append(contentsOf: source[range])
        append(.text(String(text)))
    }

    /// Where the text before a tag ends once blanks are gone.
    private func textEnd(_ start: Int, _ tag: Int) -> Int {
        var end = tag
        let sign = tag + 2 < source.count ? source[tag + 2] : " "
        if sign == "-" {
            while end > start, source[end - 1].isTemplateSpace { end -= 1 }
        } else if sign != "+", source[tag + 1] != "{" {
            while end > start, source[end - 1] != "\n" {
                guard source[end - 1].isTemplateSpace else { return tag }
                end -= 1
            }
            if end == start, !startsLine { return tag }
        }
        return end
    }

    private mutating func skipComment() throws(TemplateError) {
        let opening = line
        while at < source.count {
            if closes("#") { return }
            advance(to: at + 1)
        }
        throw TemplateError(why: "a comment is not closed", line: opening)
    }

    /// Takes the end of a tag and the blanks that go with it, if it stands here.
    private mutating func closes(_ kind: Unicode.Scalar) -> Bool {
        let sign = peek() == "-" || (peek() == "+" && kind != "}") ? 1 : 0
        guard peek(sign) == kind, peek(sign + 1) == "}" else { return false }
        let isStripped = sign == 1 && peek() == "-"
        at += sign + 2
        if isStripped {
            skipSpace()
        } else if sign == 0, kind != "}", peek() == "\n" {
            advance(to: at + 1)
        }
        startsLine = source[at - 1] == "\n"
        return true
    }

    private mutating func scanTag(closing kind: Unicode.Scalar) throws(TemplateError) {
        let opening = line
        var brackets: [Unicode.Scalar] = []
        while at < source.count {
            let line = line
            if brackets.isEmpty, closes(kind) {
                tokens.append(TemplateToken(kind: kind == "%" ? .tagEnd : .outputEnd, line: line))
                return
            }
            skipSpace()
            guard let next = peek() else { break }
            if brackets.isEmpty, isClosing(kind) { continue }
            try scanWord(next)
            switch next {
            case "(": brackets.append(")")
            case "[": brackets.append("]")
            case "{": brackets.append("}")
            case ")", "]", "}":
                guard brackets.popLast() == next else { throw error("'\(next)' closes nothing") }
            default: break
            }
        }
        throw TemplateError(why: "a tag is not closed", line: opening)
    }

    private func isClosing(_ kind: Unicode.Scalar) -> Bool {
        let sign = peek() == "-" || (peek() == "+" && kind != "}") ? 1 : 0
        return peek(sign) == kind && peek(sign + 1) == "}"
    }
}
