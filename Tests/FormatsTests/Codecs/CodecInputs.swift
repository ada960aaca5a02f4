/// The inputs that scripts/fixtures/make_codec_fixtures.py describes, made again bit for bit.
enum CodecInputs {
    static let rowCount = 16
    static let columnCount = 1024
    static let count = rowCount * columnCount

    /// Output `n` of SplitMix64 with a seed.
    static func output(_ seed: UInt64, _ n: Int) -> UInt64 {
        var z = seed &+ UInt64(n + 1) &* 0x9e37_79b9_7f4a_7c15
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// In [0, 1).
    static func uniform(_ seed: UInt64, _ n: Int) -> Float { Float(output(seed, n) >> 40) * 0x1p-24 }

    /// Four uniform numbers less their mean: about normal, in [-2, 2).
    static func normal(_ seed: UInt64, _ n: Int) -> Float {
        ((uniform(seed, 4 * n) + uniform(seed, 4 * n + 1)) + uniform(seed, 4 * n + 2)) + uniform(seed, 4 * n + 3) - 2
    }

    /// The elements of a family, by its name in the fixtures.
    static func elements(_ family: String) -> [Float]? {
        guard let element = element(family) else { return nil }
        return (0..<count).map(element)
    }

    /// The bytes of a byte family, `byteCount` of them.
    static func bytes(_ seed: UInt64, byteCount: Int) -> [UInt8] {
        (0..<byteCount).map { UInt8(truncatingIfNeeded: output(seed, $0 / 8) >> UInt64($0 % 8 * 8)) }
    }

    /// One weight per column, of a kind by its name in the fixtures.
    static func importance(_ kind: String) -> [Float]? {
        let weight: (Int) -> Float = { uniform(30, $0) + 0.0625 }
        let element: ((Int) -> Float)? =
            switch kind {
            case "weights": weight
            case "powers": { column in
                let x = output(33, column)
                return Float(bitPattern: (127 - UInt32(truncatingIfNeeded: x >> 32) % 40) << 23 | UInt32(x & 0x7f_ffff))
            }
            case "zeros": { _ in 0 }
            case "some-zeros": { $0 / 64 % 4 == 1 || output(33, $0) >> 63 == 1 ? 0 : weight($0) }
            case "tiny": { weight($0) * 1e-30 }
            case "huge": { weight($0) * 1e30 }
            default: nil
            }
        return element.map { (0..<columnCount).map($0) }
    }

    private static func element(_ family: String) -> ((Int) -> Float)? {
        switch family {
        case "normal": { normal(1, $0) * 0.02 }
        case "uniform": { signedUniform(2, $0) }
        case "zeros": { _ in 0 }
        case "negative-zeros": { _ in -0.0 }
        case "constant": { (Float($0 / columnCount) - 7.5) * 0.1 }
        case "outliers": { outlier($0) }
        case "tiny-30": { normal(5, $0) * 1e-30 }
        case "tiny-37": { normal(6, $0) * 1e-37 }
        case "tiny-40": { normal(7, $0) * Float(bitPattern: 0x0001_16c2) }
        case "grid": { (Float(output(8, $0) >> 60) - 8) / Float(1 << ($0 / columnCount % 8)) }
        case "ties": { alternatingTie($0) }
        case "ties-8": { $0 % 32 == 0 ? -8 : tie(10, $0, 32) - 8 }
        case "ties-15": { $0 % 32 == 0 ? 0 : $0 % 32 == 1 ? 15 : tie(11, $0, 30) }
        case "ties-16": { $0 % 32 == 0 ? -16 : tie(12, $0, 64) - 16 }
        case "ties-31": { $0 % 32 == 0 ? 0 : $0 % 32 == 1 ? 31 : tie(13, $0, 62) }
        case "ties-127": { $0 % 32 == 0 ? 127 : tie(14, $0, 508) - 127 }
        case "large": { normal(15, $0) * 1e6 }
        case "huge": { normal(16, $0) * 1e30 }
        case "extreme": { signedUniform(17, $0) * 3e38 }
        case "mixed": { $0 / 256 % 4 == 3 || output(19, $0 / 16) >> 63 == 1 ? 0 : normal(18, $0) * 0.02 }
        case "exact-f16": { halfValue(finite(UInt16(output(20, $0) >> 48), exponent: 0x7c00)) }
        case "exact-bf16": { brainValue(finite(UInt16(output(21, $0) >> 48), exponent: 0x7f80)) }
        case "normal-f16": { Float(Float16(normal(1, $0) * 0.02)) }
        case "normal-bf16": { roundedToBrain(normal(1, $0) * 0.02) }
        case "negative": { -(normal(22, $0) * 0.02).magnitude }
        case "positive": { (normal(23, $0) * 0.02).magnitude }
        case "offset": { uniform(24, $0) + 1 }
        case "ternary": { (Float(output(25, $0) % 3) - 1) * 0.5 }
        case "near-powers": { nearPower($0) }
        case "rounding-f16": { betweenHalves($0) }
        case "rounding-bf16": { betweenBrains($0) }
        case "raw-bits": { Float(bitPattern: UInt32(truncatingIfNeeded: output(29, $0) >> 32)) }
        default: nil
        }
    }

    private static func signedUniform(_ seed: UInt64, _ i: Int) -> Float {
        let u = uniform(seed, i)
        return (u + u) - 1
    }

    private static func outlier(_ i: Int) -> Float {
        let n = normal(3, i) * 0.02
        return Int(output(4, i / 32) >> 59) == i % 32 ? n * 1000 : n
    }

    /// A multiple of a half, from 0 to steps / 2.
    private static func tie(_ seed: UInt64, _ i: Int, _ steps: UInt64) -> Float {
        Float((output(seed, i) >> 32) % (steps + 1)) * 0.5
    }

    private static func alternatingTie(_ i: Int) -> Float {
        let value = Float(output(9, i) >> 59) * 0.5
        return i % 2 == 1 ? -value : value
    }

    private static func finite(_ bits: UInt16, exponent: UInt16) -> UInt16 {
        bits & exponent == exponent ? bits & 0xbfff : bits
    }

    private static func halfValue(_ bits: UInt16) -> Float { Float(Float16(bitPattern: bits)) }
    private static func brainValue(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

    private static func roundedToBrain(_ value: Float) -> Float {
        let bits = value.bitPattern
        return Float(bitPattern: (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff_0000)
    }

    private static func nearPower(_ i: Int) -> Float {
        let x = output(26, i)
        let middle = UInt32(truncatingIfNeeded: x >> 32)
        let exponent = i % 32 == 0 ? 127 + middle % 4 : 96 + middle % 32
        let mantissas: [UInt32] = [0, 1, 2, 0x7f_ffff, 0x7f_fffe, 0x7f_fffd, 0x40_0000, 0x3f_ffff]
        let sign = UInt32(x >> 63) << 31
        return Float(bitPattern: sign | exponent << 23 | mantissas[Int(x & 7)])
    }

    private static func betweenHalves(_ i: Int) -> Float {
        let x = output(27, i)
        let exponent = 100 + UInt32(truncatingIfNeeded: x >> 32) % 45
        let low = min(13 + UInt32(x & 15), 23)
        let mantissa = UInt32(truncatingIfNeeded: x >> 8) & 0x7f_ffff & ~((1 << low) - 1)
        let middle: UInt32 = 1 << (low - 1)
        let step = UInt32((x >> 4) & 15) % 3
        let sign = UInt32(x >> 63) << 31
        return Float(bitPattern: sign | exponent << 23 | (mantissa + middle + step - 1))
    }

    private static func betweenBrains(_ i: Int) -> Float {
        let x = output(28, i)
        let bits = UInt32(finite(UInt16(x >> 48), exponent: 0x7f80)) << 16
        return Float(bitPattern: bits + 0x7fff + UInt32(x % 3))
    }
}
