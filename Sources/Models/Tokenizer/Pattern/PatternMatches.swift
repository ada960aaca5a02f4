/// The matches of a pattern in a text, one after another. An empty match directly behind another is left out.
struct PatternMatches {
    private var matcher: PatternMatcher
    private var start = 0
    private var lastEnd = -1

    init(_ pattern: Pattern) { matcher = PatternMatcher(pattern) }

    /// Begins with another text.
    mutating func restart() {
        matcher.restart()
        start = 0
        lastEnd = -1
    }

    mutating func next(in text: Span<UInt8>) -> Range<Int>? {
        while start <= text.count, let match = matcher.firstMatch(in: text, from: start) {
            if match.isEmpty, match.upperBound == lastEnd {
                start += start < text.count ? text.scalar(at: start).count : 1
                continue
            }
            start = match.upperBound
            lastEnd = match.upperBound
            return match
        }
        return nil
    }
}
