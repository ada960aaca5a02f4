import Formats
import LinearAlgebra
import ResQ
import Synchronization

/// Rows of Uᵀ W, computed a panel at a time by whichever threads ask for them.
///
///     out[i, :] = Σ_k U[k, i] W[k, :]        k over the rows of i's block
///
/// Products are in Double and rounded once to `Float`.
final class RotatedPanels: Sendable {
    /// Rows of a panel.
    private static let height = 128
    /// Columns that are multiplied at once.
    private static let width = 256

    private let input: LazyTensor
    private let rotation: LazyRotation
    private let first: Int
    private let store: Store
    private let memory = Mutex(Memory())

    private struct Memory {
        var source: Once<[Float]>?
        var panels: [Int: Once<[Float]>] = [:]
        /// Rows of each panel that were handed out.
        var delivered: [Int: Int] = [:]
        var finishedCount = 0
    }

    /// The tensors whose rows are in memory: a few, so that a look at all of a model's tensors does not keep them all.
    final class Store: Sendable {
        private let open = Mutex<[RotatedPanels]>([])

        /// Marks a tensor as used now, and lets go of the one that was not for longest.
        func touch(_ panels: RotatedPanels) {
            let dropped: RotatedPanels? = open.withLock { open in
                if open.last === panels { return nil }
                open.removeAll { $0 === panels }
                open.append(panels)
                return open.count > 4 ? open.removeFirst() : nil
            }
            dropped?.drop()
        }

        func close(_ panels: RotatedPanels) { open.withLock { $0.removeAll { $0 === panels } } }
    }

    init(input: LazyTensor, rotation: LazyRotation, first: Int, store: Store) {
        self.input = input
        self.rotation = rotation
        self.first = first
        self.store = store
    }

    private func drop() { memory.withLock { $0 = Memory() } }

    /// Copies rotated rows; `rows` count from the tensor's first row.
    func copyRows(_ rows: Range<Int>, into target: inout MutableSpan<Float>) throws {
        store.touch(self)
        let columnCount = input.info.columnCount
        let rotation = try rotation.make()
        let panels = Self.panels(of: rotation, first: first)
        var index = panels.lastIndex { $0.rows.lowerBound <= rows.lowerBound } ?? 0
        var row = rows.lowerBound
        while row < rows.upperBound {
            let panel = panels[index]
            let values = try self.values(of: panel, number: index, rotation)
            let part = row..<min(rows.upperBound, panel.rows.upperBound)
            let from = (part.lowerBound - panel.rows.lowerBound) * columnCount
            let to = (part.lowerBound - rows.lowerBound) * columnCount
            for element in 0..<part.count * columnCount { target[to + element] = values[from + element] }
            deliver(part.count, of: panel, number: index, panelCount: panels.count)
            row = part.upperBound
            index += 1
        }
    }

    private struct Panel {
        let rows: Range<Int>
        let block: Int
        let blockRows: Range<Int>
    }

    /// Runs of rows of one block each.
    private static func panels(of rotation: BlockRotation, first: Int) -> [Panel] {
        var panels: [Panel] = []
        var start = first
        for (number, block) in rotation.blocks.enumerated() {
            let rows = start..<start + block.rowCount
            for row in stride(from: rows.lowerBound, to: rows.upperBound, by: height) {
                panels.append(Panel(rows: row..<min(rows.upperBound, row + height), block: number, blockRows: rows))
            }
            start = rows.upperBound
        }
        return panels
    }

    private func values(of panel: Panel, number: Int, _ rotation: BlockRotation) throws -> [Float] {
        let (source, result) = memory.withLock { memory in
            let source = memory.source ?? Once()
            memory.source = source
            let result = memory.panels[number] ?? Once()
            memory.panels[number] = result
            return (source, result)
        }
        let rowCount = input.info.rowCount
        return try result.value {
            let weight = try source.value { [input, first] in try decodedRows(first..<rowCount, of: input) }
            return product(rotation.blocks[panel.block], panel, weight)
        }
    }

    private func product(_ block: Matrix<Double>, _ panel: Panel, _ weight: [Float]) -> [Float] {
        let columnCount = input.info.columnCount
        let (rowCount, start) = (panel.blockRows.count, panel.rows.lowerBound - panel.blockRows.lowerBound)
        var left = Matrix<Double>(rowCount: rowCount, columnCount: panel.rows.count)
        for row in 0..<rowCount { for column in 0..<panel.rows.count { left[row, column] = block[row, start + column] } }
        var result = [Float](repeating: 0, count: panel.rows.count * columnCount)
        let offset = (panel.blockRows.lowerBound - first) * columnCount
        for firstColumn in stride(from: 0, to: columnCount, by: Self.width) {
            let count = min(Self.width, columnCount - firstColumn)
            var right = Matrix<Double>(rowCount: rowCount, columnCount: count)
            for row in 0..<rowCount {
                let from = offset + row * columnCount + firstColumn
                for column in 0..<count { right.elements[row * count + column] = Double(weight[from + column]) }
            }
            let tile = Matrix.product(left, right, transposeA: true)
            for row in 0..<panel.rows.count {
                let to = row * columnCount + firstColumn
                for column in 0..<count { result[to + column] = Float(tile.elements[row * count + column]) }
            }
        }
        return result
    }

    /// Lets go of a panel when all its rows were handed out, and of the tensor after its last panel.
    private func deliver(_ count: Int, of panel: Panel, number: Int, panelCount: Int) {
        let isDone = memory.withLock { memory in
            memory.delivered[number, default: 0] += count
            guard memory.delivered[number] == panel.rows.count else { return false }
            memory.panels[number] = nil
            memory.delivered[number] = nil
            memory.finishedCount += 1
            guard memory.finishedCount >= panelCount else { return false }
            memory = Memory()
            return true
        }
        if isDone { store.close(self) }
    }
}

/// A value made at first use; those who ask meanwhile wait for it.
final class Once<Value: Sendable>: Sendable {
    private let made = Mutex<Value?>(nil)

    func value(_ make: () throws -> Value) rethrows -> Value {
        try made.withLock { made in
            if let made { return made }
            let value = try make()
            made = value
            return value
        }
    }
}
