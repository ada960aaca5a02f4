/// Refuses a command line that is not UTF-8.
///
/// The standard library would put U+FFFD for what is wrong, and a prompt would become another text without a word.
/// - Throws: `Failure` with the number of the argument, the option it belongs to, and the place of the byte.
func checkArguments() throws {
    let arguments = CommandLine.arguments
    for number in arguments.indices.dropFirst() {
        // The system's own copy of the arguments ends with a null pointer, each with a zero byte, and lives as long as the process.
        guard let start = unsafe CommandLine.unsafeArgv[number] else { return }
        var bytes: [UInt8] = []
        while case let byte = unsafe start[bytes.count], byte != 0 { bytes.append(UInt8(bitPattern: byte)) }
        do {
            _ = try UTF8Span(validating: bytes.span)
        } catch {
            var place = error.byteOffsets.lowerBound
            var name = "argument \(number)"
            if bytes.starts(with: "-".utf8), let equals = bytes.firstIndex(of: UInt8(ascii: "=")), equals < place {
                name += " (\(String(decoding: bytes[..<equals], as: UTF8.self)))"
                place -= equals + 1
            } else if number > 1, arguments[number - 1].hasPrefix("-") {
                name += " (\(arguments[number - 1]))"
            }
            throw Failure(message: "\(name): the text is not UTF-8 (at byte \(place))", exitCode: Failure.badInput)
        }
    }
}
