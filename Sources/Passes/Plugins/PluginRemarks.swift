import Synchronization

/// What a plugin writes to standard error, line by line, up to a number of lines: a plugin may write for ever.
final class PluginRemarks: Sendable {
    fileprivate struct State {
        var open: [UInt8] = []
        var lineCount = 0
    }

    /// Lines that are passed on.
    static let maximumLineCount = 200
    /// Bytes after which a line is cut into two.
    private static let maximumByteCount = 1 << 12

    private let hear: @Sendable (String) -> Void
    private let state = Mutex(State())

    init(hear: @escaping @Sendable (String) -> Void) { self.hear = hear }

    func take(_ bytes: [UInt8]) {
        let lines = state.withLock { state -> [String] in
            guard state.lineCount <= Self.maximumLineCount else { return [] }
            var lines: [String] = []
            for byte in bytes {
                if byte != UInt8(ascii: "\n") { state.open.append(byte) }
                guard byte == UInt8(ascii: "\n") || state.open.count == Self.maximumByteCount else { continue }
                lines += state.closeLine()
            }
            return lines
        }
        lines.forEach(hear)
    }

    /// Nothing more comes.
    func end() { state.withLock { $0.open.isEmpty ? [] : $0.closeLine() }.forEach(hear) }
}

extension PluginRemarks.State {
    /// The line that is open, or in the place of the first that is too many a sentence.
    fileprivate mutating func closeLine() -> [String] {
        defer { open = [] }
        lineCount += 1
        switch lineCount {
        case ...PluginRemarks.maximumLineCount: return [String(decoding: open, as: UTF8.self)]
        case PluginRemarks.maximumLineCount + 1: return ["(what it writes from here on is left out)"]
        default: return []
        }
    }
}
