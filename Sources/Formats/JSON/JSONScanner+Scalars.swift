/// Strings and numbers of RFC 8259, sections 6 and 7.
extension JSONScanner {
    /// Moves over a string, from its opening quote past its closing one. Returns whether it has escapes.
    mutating func scanString() throws(FormatError) -> Bool {
        let start = position
        var hasEscapes = false
        position += 1
        while position < bytes.count {
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return hasEscapes
            case UInt8(ascii: "\\"):
                hasEscapes = true
                try scanEscape()
            case 0..<0x20:
                throw invalid(found: "a raw control character \(foundHere())", expected: "an escape such as \\n")
            case 0x20..<0x80: position += 1
            default: try scanMultibyte()
            }
        }
        throw invalid(found: "the end of the text", expected: "'\"' that ends the string at byte \(start)")
    }

    private mutating func scanEscape() throws(FormatError) {
        let start = position
        position += 1
        guard position < bytes.count else { throw invalid(found: "the end of the text", expected: "an escape") }
        switch bytes[position] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            position += 1
        case UInt8(ascii: "u"):
            position += 1
            let unit = try scanHex()
            if unit & 0xF800 != 0xD800 { return }
            guard unit < 0xDC00, position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
                bytes[position + 1] == UInt8(ascii: "u")
            else { throw invalid(found: "half a surrogate pair", expected: "\\uD800-\\uDBFF then \\uDC00-\\uDFFF", at: start) }
            position += 2
            guard try scanHex() & 0xFC00 == 0xDC00 else {
                throw invalid(found: "half a surrogate pair", expected: "\\uD800-\\uDBFF then \\uDC00-\\uDFFF", at: start)
            }
        default: throw invalid(found: "\\ and \(foundHere())", expected: "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u")
        }
    }

    private mutating func scanHex() throws(FormatError) -> UInt16 {
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard position < bytes.count, let digit = hexDigit(bytes[position]) else {
                throw invalid(found: foundHere(), expected: "four hexadecimal digits after \\u")
            }
            unit = unit << 4 | UInt16(digit)
            position += 1
        }
        return unit
    }

    /// Moves over one UTF-8 sequence of two to four bytes (table 3-7 of the Unicode standard).
    private mutating func scanMultibyte() throws(FormatError) {
        let first = bytes[position]
        let second: ClosedRange<UInt8>
        let length: Int
        switch first {
        case 0xC2...0xDF: (second, length) = (0x80...0xBF, 2)
        case 0xE0: (second, length) = (0xA0...0xBF, 3)
        case 0xED: (second, length) = (0x80...0x9F, 3)
        case 0xE1...0xEF: (second, length) = (0x80...0xBF, 3)
        case 0xF0: (second, length) = (0x90...0xBF, 4)
        case 0xF1...0xF3: (second, length) = (0x80...0xBF, 4)
        case 0xF4: (second, length) = (0x80...0x8F, 4)
        default: throw invalid(found: foundHere(), expected: "valid UTF-8")
        }
        guard bytes.count - position >= length, second.contains(bytes[position + 1]) else {
            throw invalid(found: foundHere(), expected: "valid UTF-8")
        }
        for index in 2..<max(length, 2) where bytes[position + index] & 0xC0 != 0x80 {
            throw invalid(found: foundHere(), expected: "valid UTF-8")
        }
        position += length
    }

    /// Moves over a number and keeps its exact value when json-c would clamp it.
    mutating func scanNumber() throws(FormatError) {
        let start = position
        if bytes[position] == UInt8(ascii: "-") { position += 1 }
        if limits.allowsNonFiniteNumbers, position < bytes.count, bytes[position] == UInt8(ascii: "I") {
            for byte in "Infinity".utf8 {
                guard position < bytes.count, bytes[position] == byte else {
                    throw invalid(found: foundHere(), expected: "-Infinity")
                }
                position += 1
            }
            return
        }
        let integerStart = position
        try scanDigits()
        let integerDigits = position - integerStart
        if integerDigits > 1, bytes[integerStart] == UInt8(ascii: "0") {
            throw invalid(found: "a number with a leading zero", expected: "none", at: start)
        }
        var isInteger = true
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            try scanDigits()
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            position += 1
            if position < bytes.count, bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-") { position += 1 }
            try scanDigits()
        }
        guard position - start <= 1_000 else {
            throw invalid(found: "a number of \(position - start) characters", expected: "at most 1000", at: start)
        }
        let canBeHuge = integerDigits > 300 || !isInteger
        guard integerDigits >= 19 || canBeHuge else { return }
        let text = decoded(start..<position, hasEscapes: false)
        let double = Double(text) ?? .infinity
        guard double.isFinite else { throw invalid(found: "a number past the range of Double", expected: "a finite number", at: start) }
        if isInteger {
            longIntegers.append(Int(text).map(JSONValue.integer) ?? UInt64(text).map(JSONValue.unsigned) ?? .number(double))
        }
    }

    private mutating func scanDigits() throws(FormatError) {
        let start = position
        while position < bytes.count, bytes[position] >= UInt8(ascii: "0"), bytes[position] <= UInt8(ascii: "9") { position += 1 }
        guard position > start else { throw invalid(found: foundHere(), expected: "a digit") }
    }

    /// The text of a checked string, without its quotes.
    func decoded(_ range: Range<Int>, hasEscapes: Bool) -> String {
        guard hasEscapes else {
            // The buffer is only read inside the closure.
            return unsafe bytes.extracting(range).withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
        }
        var units: [UInt16] = []
        var text = ""
        var index = range.lowerBound
        while index < range.upperBound {
            var byte = bytes[index]
            guard byte == UInt8(ascii: "\\") else {
                let end = nextBackslash(from: index, before: range.upperBound)
                text += decoded(index..<end, hasEscapes: false)
                index = end
                continue
            }
            byte = bytes[index + 1]
            index += 2
            switch byte {
            case UInt8(ascii: "b"): text += "\u{8}"
            case UInt8(ascii: "f"): text += "\u{c}"
            case UInt8(ascii: "n"): text += "\n"
            case UInt8(ascii: "r"): text += "\r"
            case UInt8(ascii: "t"): text += "\t"
            case UInt8(ascii: "u"):
                var unit: UInt16 = 0
                for offset in 0..<4 { unit = unit << 4 | UInt16(hexDigit(bytes[index + offset]) ?? 0) }
                index += 4
                units.append(unit)
                if unit & 0xFC00 == 0xD800 { continue }
                text += String(decoding: units, as: UTF16.self)
                units.removeAll()
            default: text.unicodeScalars.append(Unicode.Scalar(byte))
            }
        }
        return text
    }

    private func nextBackslash(from start: Int, before end: Int) -> Int {
        var index = start
        while index < end, bytes[index] != UInt8(ascii: "\\") { index += 1 }
        return index
    }
}

private func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}
