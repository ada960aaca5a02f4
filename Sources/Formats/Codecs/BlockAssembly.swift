/// The numbers a block stands for, before they are packed into its bytes: what a rounding method of its own gives.
///
///     Q4_0 Q5_0 Q8_0          value = scale · level                            level -8…7, -16…15, -127…127
///     Q4_1 Q5_1               value = scale · level + minimum                  level 0…15, 0…31
///     IQ4_NL                  value = scale · codebook[level]                  level 0…15
///     Q3_K Q6_K               value = (scale · s_g) · level                    level -4…3, -32…31;  s_g -32…31, -128…127
///     IQ4_XS                  value = (scale · s_g) · codebook[level]          level 0…15;  s_g -32…31
///     Q2_K Q4_K Q5_K          value = (scale · s_g) · level - minimum · m_g    level 0…3, 0…15, 0…31;  s_g, m_g 0…15, 0…63
///
/// g is the group of 16 (Q2_K, Q3_K, Q6_K) or 32 elements. `scale` and `minimum` are numbers that F16 holds.
public struct BlockNumbers: Sendable, Equatable {
    public var scale: Float
    public var minimum: Float
    /// s_g; empty for types without groups.
    public var groupScales: [Int]
    /// m_g; empty for types without group minimums.
    public var groupMinimums: [Int]
    /// One per element of the block.
    public var levels: [Int]

    public init(scale: Float, minimum: Float = 0, groupScales: [Int] = [], groupMinimums: [Int] = [], levels: [Int]) {
        self.scale = scale
        self.minimum = minimum
        self.groupScales = groupScales
        self.groupMinimums = groupMinimums
        self.levels = levels
    }
}

extension BlockNumbers {
    /// Whether blocks of a type can be put together from numbers.
    public static func canAssemble(_ type: GGMLType) -> Bool {
        switch type {
        case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_nl, .iq4_xs: true
        default: false
        }
    }

    /// Packs the numbers into the bytes of one block, which decode to exactly these values.
    ///
    /// - Parameter block: the type's bytes, all zero.
    /// - Precondition: `canAssemble(type)`; counts and ranges as the table above says.
    public func assemble(_ type: GGMLType, into block: inout MutableSpan<UInt8>) {
        precondition(levels.count == type.blockSize && block.count == type.typeSize, "numbers and bytes of one block")
        func code(_ element: Int, from lowest: Int) -> UInt8 { UInt8(levels[element] - lowest) }
        switch type {
        case .q4_0, .q4_1, .iq4_nl:
            let start = type == .q4_1 ? 4 : 2
            storeHead(withMinimum: type == .q4_1, &block)
            let lowest = type == .q4_0 ? -8 : 0
            for i in 0..<16 { block[start + i] = code(i, from: lowest) | code(i + 16, from: lowest) << 4 }
        case .q5_0, .q5_1:
            let start = type == .q5_1 ? 4 : 2
            storeHead(withMinimum: type == .q5_1, &block)
            let lowest = type == .q5_0 ? -16 : 0
            for i in 0..<32 {
                let code = code(i, from: lowest)
                block[start + i / 8] |= (code >> 4) << UInt8(i % 8)
                block[start + 4 + i % 16] |= (code & 15) << (i < 16 ? 0 : 4)
            }
        case .q8_0:
            storeHead(withMinimum: false, &block)
            for i in 0..<32 { block[2 + i] = UInt8(bitPattern: Int8(levels[i])) }
        case .q2_K:
            for group in 0..<16 { block[group] = UInt8(groupScales[group]) | UInt8(groupMinimums[group]) << 4 }
            for i in 0..<256 { block[16 + i / 128 * 32 + i % 32] |= code(i, from: 0) << UInt8(i % 128 / 32 * 2) }
            _ = storeHalf(scale, &block, at: 80)
            _ = storeHalf(minimum, &block, at: 82)
        case .q3_K:
            for i in 0..<256 {
                let code = code(i, from: -4)
                block[i % 32] |= (code >> 2) << UInt8(i / 32)
                block[32 + i / 128 * 32 + i % 32] |= (code & 3) << UInt8(i % 128 / 32 * 2)
            }
            for group in 0..<16 {
                let code = UInt8(groupScales[group] + 32)
                block[96 + group % 8] |= (code & 15) << (group < 8 ? 0 : 4)
                block[104 + group % 4] |= (code >> 4) << UInt8(group / 4 * 2)
            }
            _ = storeHalf(scale, &block, at: 108)
        case .q4_K, .q5_K:
            storeHead(withMinimum: true, &block)
            storeSixBitNumbers(&block)
            let start = type == .q4_K ? 16 : 48
            for i in 0..<256 {
                let code = code(i, from: 0)
                block[start + i / 64 * 32 + i % 32] |= (code & 15) << (i % 64 < 32 ? 0 : 4)
                if type == .q5_K { block[16 + i % 32] |= (code >> 4) << UInt8(i / 32) }
            }
        case .q6_K:
            for i in 0..<256 {
                let code = code(i, from: -32)
                let (half, inHalf) = (i / 128, i % 128)
                block[64 * half + inHalf % 64] |= (code & 15) << (inHalf < 64 ? 0 : 4)
                block[128 + 32 * half + inHalf % 32] |= (code >> 4) << UInt8(inHalf / 32 * 2)
            }
            for group in 0..<16 { block[192 + group] = UInt8(bitPattern: Int8(groupScales[group])) }
            _ = storeHalf(scale, &block, at: 208)
        case .iq4_xs:
            _ = storeHalf(scale, &block, at: 0)
            for group in 0..<8 {
                let scaleCode = groupScales[group] + 32
                block[2 + group / 4] |= UInt8(scaleCode >> 4) << UInt8(group % 4 * 2)
                block[4 + group / 2] |= UInt8(scaleCode & 15) << (group % 2 == 0 ? 0 : 4)
                for i in 32 * group..<32 * group + 16 { block[8 + i - 16 * group] = code(i, from: 0) | code(i + 16, from: 0) << 4 }
            }
        default: preconditionFailure("\(type.name) is not put together from numbers")
        }
    }

    /// d at the block's start, and a minimum behind it.
    private func storeHead(withMinimum: Bool, _ block: inout MutableSpan<UInt8>) {
        _ = storeHalf(scale, &block, at: 0)
        if withMinimum { _ = storeHalf(minimum, &block, at: 2) }
    }

    /// Eight scales and minimums of six bits; see KQuantScales.swift.
    private func storeSixBitNumbers(_ block: inout MutableSpan<UInt8>) {
        for group in 0..<8 {
            let (scale, minimum) = (UInt8(groupScales[group]), UInt8(groupMinimums[group]))
            if group < 4 {
                block[4 + group] |= scale
                block[8 + group] |= minimum
            } else {
                block[8 + group] = scale & 15 | (minimum & 15) << 4
                block[group] |= (scale >> 4) << 6
                block[4 + group] |= (minimum >> 4) << 6
            }
        }
    }
}
