import Testing

import Formats

@Suite struct KQuantArithmeticTests {
    /// Every binary16 number goes to binary32 and back.
    @Test func halvesRoundTrip() {
        for bits in UInt16.min...UInt16.max {
            let value = Float(halfBits: bits)
            if bits & 0x7fff > 0x7c00 {
                #expect(value.isNaN && value.halfBits == bits & 0x8000 | 0x7e00)
            } else {
                #expect(value.halfBits == bits)
            }
        }
    }

    /// The last number that rounds down, the tie and the first that rounds up, between all neighbouring halves.
    @Test func halvesRoundToNearestEven() {
        for bits in UInt16(0)..<0x7c00 {
            let lower = Double(Float(halfBits: bits))
            let upper = bits == 0x7bff ? 65536 : Double(Float(halfBits: bits + 1))
            let tie = Float((lower + upper) / 2)
            #expect(tie.halfBits == (bits % 2 == 0 ? bits : bits + 1))
            #expect(tie.nextDown.halfBits == bits)
            #expect((-tie.nextUp).halfBits == (bits + 1) | 0x8000)
        }
        #expect(Float.infinity.halfBits == 0x7c00)
        #expect(Float.greatestFiniteMagnitude.halfBits == 0x7c00)
        #expect(Float.leastNonzeroMagnitude.halfBits == 0)
    }

    @Test func integersRoundToNearestEven() {
        for value in stride(from: Float(-300), through: 300, by: 0.125) {
            #expect(nearestInteger(value) == Int32(value.rounded(.toNearestOrEven)))
        }
        #expect(nearestInteger(4_194_303) == 4_194_303)
        #expect(nearestInteger(-4_194_303) == -4_194_303)
    }

    /// Outside the range of the rounding the low bits of the significand count, as they do in the reference.
    @Test func integersOutsideTheRange() {
        #expect(nearestInteger(.infinity) == -0x40_0000)
        #expect(nearestInteger(-.infinity) == -0x40_0000)
        #expect(nearestInteger(.nan) == 0)
        #expect(nearestInteger(0x1p60) == -0x40_0000)
    }
}
