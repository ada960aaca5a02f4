/// A small random generator: the same numbers from the same seed on every machine.
///
/// xoshiro256++ (Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators", 2019), its state filled by
/// SplitMix64 from the seed.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: (UInt64, UInt64, UInt64, UInt64)
    private var spareGaussian: Double?

    public init(seed: UInt64) {
        var counter = seed
        func splitMix() -> UInt64 {
            counter &+= 0x9E37_79B9_7F4A_7C15
            var z = counter
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
        state = (splitMix(), splitMix(), splitMix(), splitMix())
    }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 {
        func rotated(_ x: UInt64, by count: UInt64) -> UInt64 { (x << count) | (x >> (64 - count)) }
        let result = rotated(state.0 &+ state.3, by: 23) &+ state.0
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = rotated(state.3, by: 45)
        return result
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    public mutating func nextUniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// Standard normal, by Marsaglia's polar method.
    ///
    ///     (u, v) uniform in the unit disc, s = u² + v²:   u √(-2 ln s / s)   and   v √(-2 ln s / s)
    ///
    /// Nothing but additions, multiplications, divisions and square roots, which IEEE 754 rounds the same everywhere.
    public mutating func nextGaussian() -> Double {
        if let spare = spareGaussian {
            spareGaussian = nil
            return spare
        }
        while true {
            let (u, v) = (2 * nextUniform() - 1, 2 * nextUniform() - 1)
            let s = u * u + v * v
            guard s > 0, s < 1 else { continue }
            let factor = (-2 * portableLogarithm(s) / s).squareRoot()
            spareGaussian = v * factor
            return u * factor
        }
    }
}

/// ln x for a positive, finite x: the same bits everywhere, unlike the C library's.
///
///     x = 2^e m,  m in [1/√2, √2):   ln x = e ln 2 + 2 (t + t³/3 + t⁵/5 + …),   t = (m - 1) / (m + 1)
///
/// |t| < 0.172, so that fourteen terms leave less than 1e-19.
func portableLogarithm(_ x: Double) -> Double {
    var (exponent, significand) = (Double(x.exponent), x.significand)
    if significand > 1.4142135623730951 { (exponent, significand) = (exponent + 1, significand / 2) }
    let t = (significand - 1) / (significand + 1)
    let square = t * t
    var series = 0.0
    for term in stride(from: 27.0, through: 1, by: -2) { series = series * square + 1 / term }
    return exponent * 0.6931471805599453 + 2 * t * series
}
