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

    /// The byte of a character of the alphabet.
    static func byte(of scalar: UInt32) -> UInt8? { bytes[scalar] }

    /// A text in the alphabet.
    static func encoded(_ text: Span<UInt8>) -> [UInt8] {
        var encoded: [UInt8] = []
        encoded.reserveCapacity(text.count + text.count / 4)
        for index in text.indices { encoded.append(scalar: scalars[Int(text[index])]) }
        return encoded
    }

    /// The bytes that a string in the alphabet stands for; `nil` when a character is not of the alphabet.
    static func bytes(of text: Span<UInt8>) -> [UInt8]? {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(text.count)
        var place = 0
        while place < text.count {
            let (scalar, count) = text.scalar(at: place)
            guard let byte = byte(of: scalar) else { return nil }
            decoded.append(byte)
            place += count
        }
        return decoded
    }

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
