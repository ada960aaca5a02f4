import Formats
import LinearAlgebra
import Models
import ResQ

extension BlockTypeRounding {
    /// Rounds one weight to the parts of a split tensor, all of them under one Hessian: the columns of low precision first, so
    /// that those of high precision behind them take up their errors.
    ///
    /// Scales of whole parts are searched on the weight as it comes, as the research code does; those of fewer columns when the
    /// rounding reaches them.
    func roundSplit(
        _ layout: SplitLayout, _ weight: Weight, _ moments: GramAccumulator?, factors: FactorCache, threadCount: Int
    ) throws -> SequentialRounding.Rounded {
        let (rowCount, columnCount) = (weight.rowCount, weight.columnCount)
        let order = layout.parts.indices.flatMap(layout.columns(ofPart:))
        let isGathered = order != Array(0..<columnCount)
        var (parts, start) = ([GridPart](), 0)
        for part in layout.parts {
            let columns = start..<start + part.width * layout.groupCount
            parts.append(
                GridPart(
                    columns: columns,
                    grid: try IntegerGrid(
                        bits: part.bits, isSymmetric: part.isSymmetric, granularity: layout.scaleWidth.map { .group($0) } ?? .row,
                        clipSearch: scaleSearch, scaleType: .float16)))
            start = columns.upperBound
        }
        let ranges = parts.map(\.columns)
        let (factor, remarks) = try hessian(of: moments, columnCount: columnCount, damping: damping) { moments, damping in
            isGathered
                ? try HessianFactor(moments.mean.permuted(order), damping: damping, parts: ranges, actOrder: actOrder, keepsMatrix: sweeps > 0)
                : try factors.factor(of: moments, damping: damping, parts: ranges, actOrder: actOrder, keepsMatrix: sweeps > 0)
        }
        var elements = weight.array
        if isGathered {
            for row in 0..<rowCount {
                let values = Array(elements[row * columnCount..<(row + 1) * columnCount])
                for (place, column) in order.enumerated() { elements[row * columnCount + place] = values[column] }
            }
        }
        let quantized = try ResQ.round(
            Matrix(rowCount: rowCount, columnCount: columnCount, elements: elements), to: parts, factor: factor,
            dynamicGroups: layout.scaleWidth != nil && !actOrder, sweeps: sweeps, threadCount: threadCount)
        let bytes = quantized.splitRows(layout)
        return SequentialRounding.Rounded(
            bytes: bytes, weight: try Weight(decoding: bytes, as: .split(layout), like: weight), residual: nil, remarks: remarks)
    }
}

extension QuantizedMatrix {
    /// The matrix as rows of a split tensor.
    /// - Precondition: the parts are the layout's, their columns gathered.
    fileprivate func splitRows(_ layout: SplitLayout) -> TensorBytes {
        let runs = layout.parts.indices.map(layout.runs(ofPart:))
        return TensorBytes(
            ArrayStorage(byteCount: rowCount * layout.rowByteCount) { target in
                for row in 0..<rowCount {
                    var offset = row * layout.rowByteCount
                    for (index, part) in parts.enumerated() {
                        for (group, run) in runs[index].enumerated() {
                            let low = part.lows[row * part.groupCount + group]
                            SplitCodec.write(
                                run.map { UInt8(levels[row * columnCount + part.columns.lowerBound + $0] - low) },
                                scale: part.scale(row: row, group: group), zero: UInt8(-low), bits: layout.parts[index].bits,
                                into: &target, at: &offset)
                        }
                    }
                }
            })
    }
}
