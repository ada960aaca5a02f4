/// GPT-2's alphabet for bytes: each byte is one printable character.
///
/// `!`...`~`, `¡`...`¬` and `®`...`ÿ` stand for themselves; the other 68 bytes are U+0100, U+0101, ... in order.
enum ByteAlphabet {
    /// The code point of each byte.
    static let scalars: [UInt32] = {
        var next: UInt32 = 0x100
        return (0..<256).map { byte in
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return UInt32(byte)
            default:
                defer { next += 1 }
                return next
            }
        }
    }()

    private static let bytes: [UInt32: UInt8] = Dictionary(
        uniqueKeysWithValues: scalars.enumerated().map { ($1, UInt8($0)) })

    /// The text that a string in the alphabet stands for; the string itself when a character is not of the alphabet.
    /// Bytes that are not UTF-8 become U+FFFD.
    static func decoded(_ text: String) -> String {
        var decoded: [UInt8] = []
        for scalar in text.unicodeScalars {
            guard let byte = bytes[scalar.value] else { return text }
            decoded.append(byte)
        }
        return String(decoding: decoded, as: UTF8.self)
    }
}
