import Formats
import Models
import Testing

@Suite struct LogitCodeTests {
    @Test(arguments: [1, 3, 5]) func errorsStayBelowTheBound(rowCount: Int) {
        var state: UInt64 = 5
        func random() -> Float {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Float(state >> 40) / Float(1 << 24)
        }
        let vocabulary = 4001
        // Close to the top as well as far below it.
        var rows: [Float] = (0..<rowCount * vocabulary).map { index in
            let share = random()
            return index % 3 == 0 ? -share * 1e-3 : index % 3 == 1 ? -share * 20 : -share * 250
        }
        for row in 0..<rowCount { rows[row * vocabulary + 17 * row + 2] = 3.25 }
        let run = LogitCode.encoded(rows.span, rowCount: rowCount)
        let codes = TensorBytes(run.codes)
        #expect(run.tops == [Float](repeating: 3.25, count: rowCount))
        #expect(run.codes.count == 2 * rows.count)
        var decoded = [Float](repeating: 0, count: vocabulary)
        for row in 0..<rowCount {
            var target = decoded.mutableSpan
            LogitCode.decode(codes.bytes, row: row, of: rowCount, top: run.tops[row], into: &target)
            for column in 0..<vocabulary {
                let distance = 3.25 - rows[row * vocabulary + column]
                let error = (decoded[column] - rows[row * vocabulary + column]).magnitude
                // Half a step, and what single precision adds.
                #expect(error <= (1 + distance) / 16384 + 4e-5, "\(distance)")
                #expect((decoded[column] == 3.25) == (distance == 0))
            }
        }
    }

    @Test func whatIsFarBelowStaysFarBelow() {
        let logits: [Float] = [0, -1e30, -300, -253]
        let run = LogitCode.encoded(logits.span, rowCount: 1)
        let codes = TensorBytes(run.codes)
        var decoded = [Float](repeating: 0, count: 4)
        var target = decoded.mutableSpan
        LogitCode.decode(codes.bytes, row: 0, of: 1, top: run.tops[0], into: &target)
        #expect(decoded[0] == 0 && decoded[1] < -254 && decoded[2] < -254 && (decoded[3] + 253).magnitude < 0.02)
    }
}
