// Goethals and Seidel, "A skew Hadamard matrix of order 36" (1970). A, B, C, D are circulants (row i is the sequence moved
// i places to the right) whose periodic autocorrelations sum to zero, R is the identity with its columns reversed:
//
//     H = |  A     B R    C R    D R  |
//         | -B R   A      DᵀR   -CᵀR  |
//         | -C R  -DᵀR    A      BᵀR  |
//         | -D R   CᵀR   -BᵀR    A    |
extension HadamardConstruction {
    static func goethalsSeidel(_ sequences: [String]) -> [Int8] {
        let values = sequences.map { $0.utf8.map { $0 == UInt8(ascii: "+") ? Int8(1) : -1 } }
        let n = values[0].count
        let order = 4 * n
        var elements = [Int8](repeating: 0, count: order * order)
        // Which sequence, with which sign, and whether transposed, by block.
        let blocks: [[(sequence: Int, sign: Int8, transposed: Bool)]] = [
            [(0, 1, false), (1, 1, false), (2, 1, false), (3, 1, false)],
            [(1, -1, false), (0, 1, false), (3, 1, true), (2, -1, true)],
            [(2, -1, false), (3, -1, true), (0, 1, false), (1, 1, true)],
            [(3, -1, false), (2, 1, true), (1, -1, true), (0, 1, false)],
        ]
        for (blockRow, row) in blocks.enumerated() {
            for (blockColumn, block) in row.enumerated() {
                for i in 0..<n {
                    for j in 0..<n {
                        // Off the diagonal, multiplication by R reverses the columns.
                        let column = blockRow == blockColumn ? j : n - 1 - j
                        let shift = block.transposed ? i - column + n : column - i + n
                        elements[(blockRow * n + i) * order + blockColumn * n + j] = block.sign * values[block.sequence][shift % n]
                    }
                }
            }
        }
        return elements
    }
}
