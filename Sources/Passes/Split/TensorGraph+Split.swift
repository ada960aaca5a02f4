import Formats
import Models

/// Integer bits that a rule of `quantize` asks for: of a whole row, or of the parts that a rotation made.
public struct SplitBits: Sendable, Equatable {
    public var low: Int?
    public var middle: Int
    public var high: Int?
    /// Neighbouring columns of a part that share a scale; all of them when `nil`.
    public var scaleWidth: Int?
    /// Whether a scale has a zero point of its own; at two bits it always has.
    public var hasZeroPoints = false

    /// `int4`, `int8/int4`, `int8/int4/int2`.
    var name: String {
        [high, middle, low].compactMap { $0 }.map { "int\($0)" }.joined(separator: "/")
    }

    /// - Parameter name: `int2` to `int8`.
    static func bits(named name: String) -> Int? {
        guard name.count == 4, name.lowercased().hasPrefix("int"), let bits = Int(name.dropFirst(3)), (2...8).contains(bits) else { return nil }
        return bits
    }
}

extension TensorGraph {
    /// Where a weight's columns are cut, given what the rotations made of its input.
    ///
    /// - Throws: `PipelineError.cannotApply` when parts are asked for that the input does not have.
    func splitLayout(of info: TensorInfo, _ split: SplitBits) throws -> SplitLayout {
        func part(_ width: Int, _ bits: Int) -> SplitLayout.Part {
            SplitLayout.Part(width: width, bits: bits, isSymmetric: bits > 2 && !split.hasZeroPoints)
        }
        let whole = [part(info.columnCount, split.middle)]
        guard split.low != nil || split.high != nil, let model, let role = model.match(name: info.name)?.role else {
            return try SplitLayout(parts: whole, scaleWidth: split.scaleWidth)
        }
        var (widths, groups) = (SubspaceWidths(middle: info.columnCount), 1)
        switch role {
        case .o:
            widths = online?.values ?? SubspaceWidths(middle: model.hyperparameters.headDimension)
            groups = model.hyperparameters.heads
        case _ where role.residualSide == .input: widths = online?.residual ?? widths
        default: return try SplitLayout(parts: whole, scaleWidth: split.scaleWidth)  // the input of down is spread evenly
        }
        func require(_ width: Int, _ bits: Int?, _ name: String) throws {
            guard (width > 0) != (bits != nil) else { return }
            throw PipelineError.cannotApply(
                pass: "quantize",
                why: bits == nil
                    ? "the input of '\(info.name)' has a \(name) part, for which the split type has no bits"
                    : "the input of '\(info.name)' has no \(name) part; 'resq.rotate' before makes one")
        }
        try require(widths.low, split.low, "low")
        try require(widths.high, split.high, "high")
        var parts: [SplitLayout.Part] = []
        if let low = split.low { parts.append(part(widths.low, low)) }
        parts.append(part(widths.middle, split.middle))
        if let high = split.high { parts.append(part(widths.high, high)) }
        return try SplitLayout(parts: parts, groupCount: groups, scaleWidth: split.scaleWidth)
    }
}
