/// A pointer that tasks of one parallel loop read through. The loop must end before the memory's borrow does.
@unsafe package struct Shared<T>: @unchecked Sendable {
    package let pointer: UnsafePointer<T>
    package init(_ pointer: UnsafePointer<T>) { unsafe self.pointer = pointer }
}

/// A pointer through which tasks of one parallel loop write disjoint parts. The loop must end before the memory's
/// borrow does.
@unsafe package struct SharedMutable<T>: @unchecked Sendable {
    package let pointer: UnsafeMutablePointer<T>
    package init(_ pointer: UnsafeMutablePointer<T>) { unsafe self.pointer = pointer }

    /// A part that no other task touches while the span lives.
    @_lifetime(immortal)
    package func span(_ range: Range<Int>) -> MutableSpan<T> {
        let span = unsafe MutableSpan(_unsafeStart: pointer + range.lowerBound, count: range.count)
        return unsafe _overrideLifetime(span, copying: ())
    }
}
