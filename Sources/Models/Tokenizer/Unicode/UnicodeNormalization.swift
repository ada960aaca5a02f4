/// Unicode's normalization forms (Unicode Standard Annex 15), for the characters that the `tokenizers` package knows.
///
/// Decompose every code point fully, sort runs of marks by their combining class, and for the C forms compose each starter with
/// the marks after it that are not blocked.
struct UnicodeNormalization: Sendable {
    enum Form: String, Sendable {
        case nfc = "NFC", nfd = "NFD", nfkc = "NFKC", nfkd = "NFKD"
    }

    private let decompositions: [UInt32: [UInt32]]
    private let compositions: [UInt64: UInt32]
    private let classes = UnicodeTables.combiningClasses
    private let isComposed: Bool
    /// Code points that may change, or change others.
    private let active: ScalarTable

    private static let forms: [Form: UnicodeNormalization] = [
        .nfc: UnicodeNormalization(.nfc), .nfd: UnicodeNormalization(.nfd), .nfkc: UnicodeNormalization(.nfkc),
        .nfkd: UnicodeNormalization(.nfkd),
    ]

    static func form(_ form: Form) -> UnicodeNormalization { forms[form] ?? UnicodeNormalization(form) }

    private init(_ form: Form) {
        let canonical = UnicodeTables.decompositions(UnicodeTables.canonical)
        var table = canonical
        if form == .nfkc || form == .nfkd {
            table.merge(UnicodeTables.decompositions(UnicodeTables.compatible)) { $1 }
        }
        decompositions = table
        isComposed = form == .nfc || form == .nfkc
        var pairs: [UInt64: UInt32] = [:]
        let excluded = UnicodeTables.set(UnicodeTables.excluded)
        let whole = Set(canonical.keys.filter { !excluded.contains($0) })
        if isComposed {
            var composites: [[UInt32]: UInt32] = [:]
            for code in whole { composites[canonical[code] ?? []] = code }
            for (parts, code) in composites {
                guard let last = parts.last, parts.count > 1 else { continue }
                let rest = Array(parts.dropLast())
                if let first = rest.count == 1 ? rest[0] : composites[rest] { pairs[UInt64(first) << 32 | UInt64(last)] = code }
            }
        }
        compositions = pairs
        // A letter that composing leaves whole is only touched together with a mark after it.
        var codes = classes.keys.map { $0...$0 }
        let composes = isComposed, all = decompositions
        let changing = all.filter { !composes || canonical[$0.key] != $0.value || !whole.contains($0.key) }
        codes += changing.keys.map { $0...$0 }
        codes += isComposed ? [0x1161...0x11C2] : [0xAC00...0xD7A3]
        codes += pairs.keys.map { UInt32(truncatingIfNeeded: $0)...UInt32(truncatingIfNeeded: $0) }
        active = ScalarTable(ScalarSet(codes))
    }

    /// The text in this form. A run without marks and characters that change is copied as it is.
    func normalized(_ text: Span<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var place = 0
        var copied = 0
        // Where the last character stands that a mark could join.
        var starter = 0
        while place < text.count {
            let (scalar, count) = text.scalar(at: place)
            if !active.contains(scalar) {
                starter = place
                place += count
                continue
            }
            // The run goes to the next character that nothing here touches.
            var end = place
            while end < text.count {
                let (next, count) = text.scalar(at: end)
                if !active.contains(next) { break }
                end += count
            }
            result.append(text.extracting(copied..<max(copied, starter)))
            normalize(text.extracting(max(copied, starter)..<end), into: &result)
            copied = end
            starter = end
            place = end
        }
        result.append(text.extracting(copied..<text.count))
        return result
    }

    private func normalize(_ run: Span<UInt8>, into result: inout [UInt8]) {
        var scalars: [UInt32] = []
        var place = 0
        while place < run.count {
            let (scalar, count) = run.scalar(at: place)
            decompose(scalar, into: &scalars)
            place += count
        }
        sort(&scalars)
        if isComposed { compose(&scalars) }
        for scalar in scalars { result.append(scalar: scalar) }
    }

    private func decompose(_ scalar: UInt32, into scalars: inout [UInt32]) {
        if scalar >= 0xAC00, scalar <= 0xD7A3 {
            let index = scalar - 0xAC00
            scalars.append(0x1100 + index / 588)
            scalars.append(0x1161 + index % 588 / 28)
            if index % 28 != 0 { scalars.append(0x11A7 + index % 28) }
        } else if let parts = decompositions[scalar] {
            scalars += parts
        } else {
            scalars.append(scalar)
        }
    }

    /// Sorts each run of marks by class, equal ones as they came.
    private func sort(_ scalars: inout [UInt32]) {
        var start = 0
        while start < scalars.count {
            guard classes[scalars[start]] != nil else {
                start += 1
                continue
            }
            var end = start
            while end < scalars.count, classes[scalars[end]] != nil { end += 1 }
            if end - start > 1 {
                let marks = scalars[start..<end].enumerated().sorted {
                    (classes[$0.element] ?? 0, $0.offset) < (classes[$1.element] ?? 0, $1.offset)
                }
                scalars.replaceSubrange(start..<end, with: marks.map(\.element))
            }
            start = end
        }
    }

    private func compose(_ scalars: inout [UInt32]) {
        var written = 0
        var starter: Int?
        var lastClass = -1
        for scalar in scalars {
            let number = Int(classes[scalar] ?? 0)
            if let place = starter, lastClass < number || lastClass == -1, let joined = composite(scalars[place], scalar) {
                scalars[place] = joined
                continue
            }
            if number == 0 {
                starter = written
                lastClass = -1
            } else {
                lastClass = number
            }
            scalars[written] = scalar
            written += 1
        }
        scalars.removeLast(scalars.count - written)
    }

    private func composite(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if first >= 0x1100, first < 0x1113, second >= 0x1161, second < 0x1176 {
            return 0xAC00 + ((first - 0x1100) * 21 + second - 0x1161) * 28
        }
        if first >= 0xAC00, first <= 0xD7A3, (first - 0xAC00) % 28 == 0, second > 0x11A7, second < 0x11C3 {
            return first + second - 0x11A7
        }
        return compositions[UInt64(first) << 32 | UInt64(second)]
    }
}
