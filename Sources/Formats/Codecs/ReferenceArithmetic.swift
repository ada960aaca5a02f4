// Arithmetic of the simple block types that must agree with the reference to the last bit.

/// Drops the fraction, as a C cast does; what no `Int32` holds (and NaN) gives `Int32.min`, as on x86-64.
///
/// C leaves those cases open. They arise where a scale is so small that its inverse is infinite.
func truncated(_ value: Float) -> Int32 {
    value.magnitude < 0x1p31 ? Int32(value) : .min
}

/// Rounds to the nearest integer, ties away from zero; the same exceptions.
func roundedAway(_ value: Float) -> Int32 {
    truncated(value.rounded(.toNearestOrAwayFromZero))
}

/// 1 / scale, and 0 for a scale of 0.
func inverse(_ scale: Float) -> Float { scale != 0 ? 1 / scale : 0 }

/// The element of the largest magnitude, the first of equals; 0 when there is none larger than 0.
func extreme(_ x: Span<Float>) -> Float {
    var magnitude: Float = 0
    var element: Float = 0
    for i in x.indices where magnitude < x[i].magnitude {
        magnitude = x[i].magnitude
        element = x[i]
    }
    return element
}

/// The largest magnitude. A NaN counts only when it comes last.
func largestMagnitude(_ x: Span<Float>) -> Float {
    var largest: Float = 0
    for i in x.indices { largest = largest > x[i].magnitude ? largest : x[i].magnitude }
    return largest
}

/// The smallest and the largest element, the first of equals.
func bounds(_ x: Span<Float>) -> (minimum: Float, maximum: Float) {
    var minimum = Float.greatestFiniteMagnitude
    var maximum = -Float.greatestFiniteMagnitude
    for i in x.indices {
        if x[i] < minimum { minimum = x[i] }
        if x[i] > maximum { maximum = x[i] }
    }
    return (minimum, maximum)
}
