/// A string that is equal to another only when their UTF-8 bytes are.
///
/// Swift compares strings by canonical equivalence, so "é" in one code point equals "é" in two. File formats compare
/// bytes, and vocabularies do hold both spellings as different tokens: names from files are keyed by this.
package struct ExactString: Hashable, Sendable {
    package let string: String

    package init(_ string: String) { self.string = string }

    package static func == (a: ExactString, b: ExactString) -> Bool {
        let first = a.string.utf8Span.span, second = b.string.utf8Span.span
        guard first.count == second.count else { return false }
        for index in first.indices where first[index] != second[index] { return false }
        return true
    }

    package func hash(into hasher: inout Hasher) {
        // The buffer is only read inside the closure.
        unsafe string.utf8Span.span.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
    }

    /// Orders by bytes, which for UTF-8 is the order of code points.
    package static func precedes(_ a: String, _ b: String) -> Bool {
        a.utf8.lexicographicallyPrecedes(b.utf8)
    }
}
