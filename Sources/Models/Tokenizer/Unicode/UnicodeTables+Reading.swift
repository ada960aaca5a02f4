/// The tables, read once.
extension UnicodeTables {
    /// Sets of code points by general category, in the order of `categoryNames`.
    static let categorySets: [ScalarSet] = {
        var ranges = [[ClosedRange<UInt32>]](repeating: [], count: categoryNames.count)
        var start: UInt32 = 0
        var numbers = TableReader(categories)
        while let category = numbers.next(), let count = numbers.next() {
            ranges[Int(category)].append(start...start + count - 1)
            start += count
        }
        return ranges.map(ScalarSet.init(sorted:))
    }()

    static let wordSet = set(word)
    static let accentSet = set(accents)
    static let accentTable = ScalarTable(accentSet)
    static let nonspacingTable = ScalarTable(set(nonspacing))
    static let controlTable = ScalarTable(set(controls))
    static let punctuationSet = set(punctuation)
    static let scriptSets = scripts.mapValues(set)

    /// The set behind gaps and lengths.
    static func set(_ text: String) -> ScalarSet {
        var ranges: [ClosedRange<UInt32>] = []
        var start: UInt32 = 0
        var numbers = TableReader(text)
        while let gap = numbers.next(), let count = numbers.next() {
            ranges.append(start + gap...start + gap + count - 1)
            start += gap + count
        }
        return ScalarSet(sorted: ranges)
    }

    /// A table of decompositions.
    static func decompositions(_ text: String) -> [UInt32: [UInt32]] {
        var table: [UInt32: [UInt32]] = [:]
        var code: UInt32 = 0
        var numbers = TableReader(text)
        while let distance = numbers.next() {
            code += distance
            var scalars: [UInt32] = []
            while numbers.isInsideEntry, let scalar = numbers.next() { scalars.append(scalar) }
            table[code] = scalars
        }
        return table
    }

    static let combiningClasses: [UInt32: UInt8] = {
        var table: [UInt32: UInt8] = [:]
        var code: UInt32 = 0
        var numbers = TableReader(classes)
        while let distance = numbers.next(), let number = numbers.next() {
            code += distance
            table[code] = UInt8(number)
        }
        return table
    }()
}

/// Numbers in base 36, parted by anything else.
private struct TableReader {
    private let digits: [UInt8]
    private var place = 0

    init(_ text: String) { digits = Array(text.utf8) }

    /// Whether the last number was followed by "=" or ",".
    var isInsideEntry: Bool { place > 0 && (digits[place - 1] == UInt8(ascii: "=") || digits[place - 1] == UInt8(ascii: ",")) }

    mutating func next() -> UInt32? {
        guard place < digits.count else { return nil }
        var number: UInt32 = 0
        while place < digits.count {
            let digit = digits[place]
            place += 1
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): number = number * 36 + UInt32(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "z"): number = number * 36 + UInt32(digit - UInt8(ascii: "a")) + 10
            default: return number
            }
        }
        return number
    }
}
