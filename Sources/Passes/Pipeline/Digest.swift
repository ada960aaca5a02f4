import Crypto
import Formats

/// A SHA-256.
public struct Digest: Sendable, Hashable, CustomStringConvertible {
    /// 32 bytes.
    public let bytes: [UInt8]

    /// The digest of some bytes.
    public init(of span: RawSpan) {
        var hasher = SHA256()
        hasher.update(span)
        bytes = Array(hasher.finalize())
    }

    /// The digest of a mapped file, read once from front to back in runs whose pages are let go again.
    /// - Parameter beforeEachRun: may end the reading by throwing.
    init(streaming file: TensorBytes, beforeEachRun: () throws -> Void) rethrows {
        var hasher = SHA256()
        let run = 8 << 20
        var start = 0
        while start < file.count {
            try beforeEachRun()
            let part = file[start..<min(file.count, start + run)]
            hasher.update(part.bytes)
            part.discard()
            start += run
        }
        bytes = Array(hasher.finalize())
    }

    /// The digest of shared bytes.
    init(of bytes: TensorBytes) { self.init(of: bytes.bytes) }

    /// The digest of a text's UTF-8.
    public init(of text: String) {
        var hasher = SHA256()
        hasher.update(data: Array(text.utf8))
        bytes = Array(hasher.finalize())
    }

    /// The digest of several digests, in order.
    init(of digests: some Sequence<Digest>) {
        var hasher = SHA256()
        for digest in digests { hasher.update(data: digest.bytes) }
        bytes = Array(hasher.finalize())
    }

    /// The digest of several 64-bit hashes, in order.
    init(ofHashes hashes: some Sequence<UInt64>) {
        var hasher = SHA256()
        for hash in hashes { hasher.update(data: (0..<8).map { UInt8(truncatingIfNeeded: hash >> (8 * $0)) }) }
        bytes = Array(hasher.finalize())
    }

    /// A digest written as 64 hexadecimal digits.
    init?(hexadecimal text: some StringProtocol) {
        guard text.utf8.count == 64 else { return nil }
        var bytes: [UInt8] = []
        var high: UInt8?
        for character in text {
            guard let value = character.hexDigitValue else { return nil }
            if let first = high {
                bytes.append(first << 4 | UInt8(value))
                high = nil
            } else {
                high = UInt8(value)
            }
        }
        guard bytes.count == 32 else { return nil }
        self.bytes = bytes
    }

    /// 64 lower-case hexadecimal digits.
    public var description: String {
        let digits = Array("0123456789abcdef")
        return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }
}

extension SHA256 {
    mutating func update(_ span: RawSpan) {
        // The hasher reads the bytes during the call only.
        unsafe span.withUnsafeBytes { buffer in unsafe update(bufferPointer: buffer) }
    }
}
