import Formats

/// Words inside tags: names, numbers, strings, operators.
extension TemplateLexer {
    mutating func scanWord(_ first: Unicode.Scalar) throws(TemplateError) {
        if first.isDecimalDigit {
            try scanNumber()
        } else if first == "_" || first.properties.isXIDStart {
            append(.name(take { $0 == "_" || $0.properties.isXIDContinue }))
        } else if first == "'" || first == "\"" {
            try scanString(first)
        } else {
            try scanSymbol(first)
        }
    }

    private mutating func take(while isPart: (Unicode.Scalar) -> Bool) -> String {
        var text = String.UnicodeScalarView()
        while let next = peek(), isPart(next) {
            text.append(next)
            at += 1
        }
        return String(text)
    }

    private mutating func scanNumber() throws(TemplateError) {
        var text = take { $0 == "_" || $0.isDecimalDigit }
        var isInteger = true
        if peek() == ".", let next = peek(1), next.isDecimalDigit {
            at += 1
            text += "." + take { $0 == "_" || $0.isDecimalDigit }
            isInteger = false
        }
        text = text.filter { $0 != "_" }
        if isInteger {
            guard let value = Int(text) else { throw error("'\(printable(text, limit: 40))' is no number of 64 bits") }
            append(.integer(value))
        } else {
            guard let value = Double(text), value.isFinite else { throw error("'\(printable(text, limit: 40))' is no number") }
            append(.number(value))
        }
    }

    private mutating func scanSymbol(_ first: Unicode.Scalar) throws(TemplateError) {
        for symbol in ["//", "==", "!=", ">=", "<="] where matches(symbol, at: at) {
            at += 2
            append(.symbol(symbol))
            return
        }
        guard "+-*/%~()[]{}<>=.:|,".unicodeScalars.contains(first) else {
            throw error("'\(printable(String(first)))' cannot stand here")
        }
        at += 1
        append(.symbol(String(first)))
    }

    private mutating func scanString(_ quote: Unicode.Scalar) throws(TemplateError) {
        let opening = line
        var text = String.UnicodeScalarView()
        at += 1
        while let next = peek() {
            if next == quote {
                at += 1
                append(.string(String(text)))
                return
            }
            if next == "\\" {
                try scanEscape(into: &text)
            } else {
                text.append(next)
                advance(to: at + 1)
            }
        }
        throw TemplateError(why: "a string is not closed", line: opening)
    }

    /// An escape as Python has them in strings; what is none stays as it is.
    private mutating func scanEscape(into text: inout String.UnicodeScalarView) throws(TemplateError) {
        guard let letter = peek(1) else {
            at += 1
            return
        }
        advance(to: at + 2)
        switch letter {
        case "\n": break
        case "\\", "'", "\"": text.append(letter)
        case "n": text.append("\n")
        case "r": text.append("\r")
        case "t": text.append("\t")
        case "a": text.append("\u{7}")
        case "b": text.append("\u{8}")
        case "f": text.append("\u{C}")
        case "v": text.append("\u{B}")
        case "x": text.append(try scanCode(digits: 2))
        case "u": text.append(try scanCode(digits: 4))
        case "U": text.append(try scanCode(digits: 8))
        default:
            text.append("\\")
            text.append(letter)
        }
    }

    private mutating func scanCode(digits count: Int) throws(TemplateError) -> Unicode.Scalar {
        var digits = ""
        for offset in 0..<count { if let digit = peek(offset), digit.isASCII { digits.unicodeScalars.append(digit) } }
        guard digits.count == count, let code = UInt32(digits, radix: 16), let scalar = Unicode.Scalar(code) else {
            throw error("an escape in a string names no character")
        }
        at += count
        return scalar
    }
}
