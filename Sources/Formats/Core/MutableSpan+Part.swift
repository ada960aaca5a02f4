extension MutableSpan where Element: ~Copyable {
    /// A part of the span, for as long as the whole is not used otherwise.
    @_lifetime(&self)
    package mutating func part(_ range: Range<Int>) -> MutableSpan<Element> {
        // One method under two names: Swift 6.3 renamed it.
        #if compiler(>=6.3)
        _mutatingExtracting(range)
        #else
        extracting(range)
        #endif
    }
}

extension MutableRawSpan {
    /// A part of the span, for as long as the whole is not used otherwise.
    @_lifetime(&self)
    package mutating func part(_ range: Range<Int>) -> MutableRawSpan {
        #if compiler(>=6.3)
        _mutatingExtracting(range)
        #else
        extracting(range)
        #endif
    }
}
