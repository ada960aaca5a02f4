/// What a plain (unquoted) scalar means in the core schema of YAML 1.2: `no`, `on` and dates are text.
/// - Throws: `RecipeError` for an integer past 64 bits and for numbers that are not finite.
func plainScalar(_ text: String, at location: RecipeLocation) throws(RecipeError) -> RecipeNode.Value {
    switch text {
    case "", "~", "null", "Null", "NULL": return .null
    case "true", "True", "TRUE": return .boolean(true)
    case "false", "False", "FALSE": return .boolean(false)
    default: break
    }
    let unsigned = text.first == "-" || text.first == "+" ? text.dropFirst() : text[...]
    if !unsigned.isEmpty, unsigned.utf8.allSatisfy(isDigit) {
        guard let integer = Int(text) else { throw RecipeError("the integer \(text) does not fit 64 bits", at: location) }
        return .integer(integer)
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] where text.hasPrefix(prefix) {
        let digits = text.dropFirst(2)
        guard let first = digits.first, first != "-", first != "+" else { continue }
        if let integer = Int(digits, radix: radix) { return .integer(integer) }
    }
    switch unsigned {
    case ".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN":
        throw RecipeError("the number \(text) is not finite", at: location)
    default: break
    }
    guard isDecimal(unsigned), let number = Double(text) else { return .text(text) }
    guard number.isFinite else { throw RecipeError("the number \(text) is not finite", at: location) }
    return .number(number)
}

private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
private func isDecimal(_ text: Substring) -> Bool {
    var rest = text.utf8
    func takeDigits(_ rest: inout Substring.UTF8View) -> Int {
        let count = rest.prefix(while: isDigit).count
        rest = rest.dropFirst(count)
        return count
    }
    let whole = takeDigits(&rest)
    var fraction = 0
    if rest.first == UInt8(ascii: ".") {
        rest = rest.dropFirst()
        fraction = takeDigits(&rest)
    }
    guard whole + fraction > 0 else { return false }
    if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
        rest = rest.dropFirst()
        if rest.first == UInt8(ascii: "-") || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
        guard takeDigits(&rest) > 0 else { return false }
    }
    return rest.isEmpty
}
