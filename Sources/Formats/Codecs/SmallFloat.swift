/// A floating-point format of at most eight bits: sign, exponent, mantissa.
///
///     exponent 0:  (-1)^sign * 2^(1 - bias) * mantissa / 2^mantissaBits
///     otherwise:   (-1)^sign * 2^(exponent - bias) * (1 + mantissa / 2^mantissaBits)
///
/// F8_E5M2 has infinities and NaN as IEEE formats do; F8_E4M3 has no infinity and NaN where all bits below the sign are
/// set; the FNUZ kinds have neither infinity nor negative zero, and one NaN in its place; F8_E8M0 is the power of two
/// 2^(byte - 127), NaN at 255; F6 and F4 are all finite.
struct SmallFloat {
    private enum Special { case none, ieee, allOnes, negativeZero }

    /// The value of every bit pattern.
    let values: [Float]

    private init(exponentBits: Int, mantissaBits: Int, bias: Int, special: Special) {
        let bits = 1 + exponentBits + mantissaBits
        values = (0..<1 << bits).map { pattern in
            let magnitude = pattern & (1 << (bits - 1) - 1)
            let exponent = magnitude >> mantissaBits
            let mantissa = magnitude & (1 << mantissaBits - 1)
            let isNegative = pattern != magnitude
            switch special {
            case .allOnes where magnitude == 1 << (bits - 1) - 1: return .nan
            case .negativeZero where isNegative && magnitude == 0: return .nan
            case .ieee where exponent == 1 << exponentBits - 1:
                if mantissa != 0 { return .nan }
                return isNegative ? -.infinity : .infinity
            default: break
            }
            let significand = exponent == 0 ? mantissa : mantissa | 1 << mantissaBits
            let value = Float(sign: .plus, exponent: max(exponent, 1) - bias - mantissaBits, significand: Float(significand))
            return isNegative ? -value : value
        }
    }

    private init(values: [Float]) { self.values = values }

    static let f4 = SmallFloat(exponentBits: 2, mantissaBits: 1, bias: 1, special: .none)
    static let f6e2m3 = SmallFloat(exponentBits: 2, mantissaBits: 3, bias: 1, special: .none)
    static let f6e3m2 = SmallFloat(exponentBits: 3, mantissaBits: 2, bias: 3, special: .none)
    static let f8e4m3 = SmallFloat(exponentBits: 4, mantissaBits: 3, bias: 7, special: .allOnes)
    static let f8e5m2 = SmallFloat(exponentBits: 5, mantissaBits: 2, bias: 15, special: .ieee)
    static let f8e4m3fnuz = SmallFloat(exponentBits: 4, mantissaBits: 3, bias: 8, special: .negativeZero)
    static let f8e5m2fnuz = SmallFloat(exponentBits: 5, mantissaBits: 2, bias: 16, special: .negativeZero)
    static let f8e8m0 = SmallFloat(
        values: (0..<256).map { $0 == 255 ? .nan : Float(sign: .plus, exponent: $0 - 127, significand: 1) })
}
