/// A tensor name with the numbers of its layer and expert left open: `blk.{layer}.attn_q.weight`.
///
/// A pattern and a name are compared by their *skeleton*: the name with its first number replaced by `{layer}` and its
/// second by `{expert}`. So finding the pattern of a name is one dictionary lookup, however many patterns there are.
package struct TensorPattern: Sendable, Hashable {
    package let text: String
    package let hasLayer: Bool
    package let hasExpert: Bool

    /// - Returns: `nil` unless the placeholders are whole components, at most one of each, the layer first.
    init?(_ text: String) {
        let open = text.split(separator: ".", omittingEmptySubsequences: false).filter { $0.contains("{") || $0.contains("}") }
        switch open {
        case []: (hasLayer, hasExpert) = (false, false)
        case ["{layer}"]: (hasLayer, hasExpert) = (true, false)
        case ["{layer}", "{expert}"]: (hasLayer, hasExpert) = (true, true)
        default: return nil
        }
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else { return nil }
        // A number in the pattern itself would be taken for a layer.
        guard NameSkeleton(text).layer == nil else { return nil }
        self.text = text
    }

    /// The concrete name.
    package func name(layer: Int?, expert: Int? = nil) -> String {
        guard hasLayer else { return text }
        return text.split(separator: ".", omittingEmptySubsequences: false).map { part -> String in
            switch part {
            case "{layer}": "\(layer ?? 0)"
            case "{expert}": "\(expert ?? 0)"
            default: String(part)
            }
        }.joined(separator: ".")
    }
}

/// A name taken apart into its skeleton and numbers. Only canonical numbers count (`7`, not `07`), so that a name and
/// its (pattern, layer, expert) determine each other.
struct NameSkeleton {
    var text: String
    var layer: Int?
    var expert: Int?

    init(_ name: String) {
        var parts: [Substring] = []
        for part in name.split(separator: ".", omittingEmptySubsequences: false) {
            guard expert == nil, let number = Self.number(part) else {
                parts.append(part)
                continue
            }
            if layer == nil {
                layer = number
                parts.append("{layer}")
            } else {
                expert = number
                parts.append("{expert}")
            }
        }
        text = layer == nil ? name : parts.joined(separator: ".")
    }

    private static func number(_ part: Substring) -> Int? {
        guard (1...9).contains(part.utf8.count), part.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
        guard part.utf8.count == 1 || part.utf8.first != 48 else { return nil }
        return Int(part)
    }
}
