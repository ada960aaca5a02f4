import Formats
import Models

// Split tensors in GGUF, which has no type for them: I8 tensors of the bytes of their rows, and for each of them
//
//     resq.split.names          [string; n]
//     resq.split.groups         [u32; n]     groups of a row
//     resq.split.part_counts    [u32; n]
//     resq.split.part_widths    [u32; sum]   columns of each part in one group, tensor after tensor
//     resq.split.part_bits      [u32; sum]
//     resq.split.scale_widths   [u32; n]     columns of a part that share a scale, 0 for all; the key is there when any is not 0

extension LazyTensor {
    /// A split tensor, or one of a custom type, as the bytes of its rows; any other as it is.
    func storedAsBytes() throws -> LazyTensor {
        switch info.encoding {
        case .split, .custom: break
        case .plain, .block: return self
        }
        let stored = try TensorInfo(name: info.name, encoding: .plain(.i8), shape: info.shape.dropLast() + [info.rowByteCount ?? 0])
        return LazyTensor(info: stored, operation: SameBytes(input: self), history: history)
    }

    /// The bytes of rows as the split tensor they are.
    fileprivate func readAsSplit(_ layout: SplitLayout) throws(FormatError) -> LazyTensor {
        let info = try TensorInfo(name: info.name, encoding: .split(layout), shape: info.shape.dropLast() + [layout.columnCount])
        return LazyTensor(info: info, operation: SameBytes(input: self), history: history)
    }
}

/// Rows whose bytes stay and mean something else.
struct SameBytes: TensorOperation {
    let input: LazyTensor

    var summary: String { "the same bytes" }
    var inputs: [LazyTensor] { [input] }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes { try input.rows(range) }
}

enum SplitTensors {
    private static let keys = ["names", "groups", "part_counts", "part_widths", "part_bits"].map { "resq.split." + $0 }
    private static let scaleWidths = "resq.split.scale_widths"

    /// Writes the layouts of the split tensors among `tensors`.
    static func describe(_ tensors: [LazyTensor], in metadata: inout GGUFMetadata) {
        var (names, groups, counts, widths, bits, scaleWidths) = ([String](), [UInt32](), [UInt32](), [UInt32](), [UInt32](), [UInt32]())
        for tensor in tensors {
            guard case .split(let layout) = tensor.info.encoding else { continue }
            names.append(tensor.info.name)
            groups.append(UInt32(clamping: layout.groupCount))
            counts.append(UInt32(layout.parts.count))
            widths += layout.parts.map { UInt32(clamping: $0.width) }
            bits += layout.parts.map { UInt32($0.bits) }
            scaleWidths.append(UInt32(clamping: layout.scaleWidth ?? 0))
        }
        guard !names.isEmpty else { return }
        metadata["resq.split.names"] = .array(GGUFArray(strings: names))
        for (key, values) in zip(keys.dropFirst(), [groups, counts, widths, bits]) { metadata[key] = .array(GGUFArray(values)) }
        if scaleWidths.contains(where: { $0 > 0 }) { metadata[Self.scaleWidths] = .array(GGUFArray(scaleWidths)) }
    }

    /// Turns tensors that a file says are split into what they are.
    /// - Throws: `ModelError` for keys that contradict each other or the tensors.
    static func read(_ tensors: inout [LazyTensor], from metadata: GGUFMetadata, path: String?) throws(ModelError) {
        guard let value = metadata["resq.split.names"] else { return }
        func invalid(_ key: String, _ found: String, _ expected: String) -> ModelError {
            ModelError(.invalidKey(key: "resq.split.\(key)", found: found, expected: expected), path: path)
        }
        guard let array = value.array, array.elementType == .string, array.count <= tensors.count else {
            throw invalid("names", "a \(value.type)", "an array of names of tensors, each once")
        }
        let names = array.values().compactMap(\.string)
        func numbers(_ key: String, count: Int) throws(ModelError) -> [Int] {
            guard let value = metadata["resq.split.\(key)"] else { throw ModelError(.missingKey(key: "resq.split.\(key)"), path: path) }
            guard let array = value.array, array.elementType == .u32, array.count == count else {
                throw invalid(key, value.array.map { "\($0.count) \($0.elementType)" } ?? "a \(value.type)", "an array of \(count) u32")
            }
            return array.values().compactMap(\.integer)
        }
        let groups = try numbers("groups", count: names.count)
        let counts = try numbers("part_counts", count: names.count)
        guard counts.allSatisfy({ (1...3).contains($0) }) else { throw invalid("part_counts", "\(counts.max() ?? 0)", "1 to 3") }
        let total = counts.reduce(0, +)
        let (widths, bits) = (try numbers("part_widths", count: total), try numbers("part_bits", count: total))
        let scaleWidths = metadata[Self.scaleWidths] == nil ? names.map { _ in 0 } : try numbers("scale_widths", count: names.count)
        var places: [String: Int] = [:]
        for (place, tensor) in tensors.enumerated() { places[tensor.info.name] = place }
        var part = 0
        for (index, name) in names.enumerated() {
            guard let place = places.removeValue(forKey: name) else { throw ModelError(.missingTensors(names: [name], count: 1), path: path) }
            do throws(FormatError) {
                let parts = (part..<part + counts[index]).map { SplitLayout.Part(width: widths[$0], bits: bits[$0]) }
                let layout = try SplitLayout(
                    parts: parts, groupCount: groups[index], scaleWidth: scaleWidths[index] == 0 ? nil : scaleWidths[index])
                let info = tensors[place].info
                guard info.encoding == .plain(.i8), info.shape.count > 1, info.columnCount == layout.rowByteCount else {
                    throw FormatError(
                        .invalid(field: "split tensor", found: "\(info.encoding.name) \(info.shape)", expected: "I8 rows of \(layout.rowByteCount) bytes"))
                }
                tensors[place] = try tensors[place].readAsSplit(layout)
            } catch {
                throw invalid("names", "'\(name)': \(error)", "the layout of that tensor")
            }
            part += counts[index]
        }
    }
}
