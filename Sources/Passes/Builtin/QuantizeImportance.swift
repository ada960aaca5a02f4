import Formats

/// The importance matrix of a `quantize` step, and what was missed in it.
struct QuantizeImportance {
    private let matrix: ImportanceMatrix
    private let path: String
    private var missing: [String] = []

    init(path: String, context: PassContext) throws(FormatError) {
        matrix = try context.openImportanceMatrix(path)
        self.path = path
    }

    /// The importance of a tensor's columns.
    /// - Parameters:
    ///   - name: the weight's GGUF name, which experts share that GGUF stacks.
    ///   - expert: which of them the tensor is.
    ///   - expertCount: how many share the name, 1 when the tensor is all of it.
    /// - Returns: `nil` when the matrix does not have the weight.
    /// - Throws: `.invalid` when it has another number of columns: then it is of another model.
    mutating func importance(
        of info: TensorInfo, name: String, expert: Int?, expertCount: Int
    ) throws(FormatError) -> TensorImportance? {
        guard let entry = matrix[name] else {
            missing.append(info.name)
            return nil
        }
        let all = entry.importance
        let columnCount = info.columnCount
        if let expert, all.count == expertCount * columnCount {
            return TensorImportance(Array(all[expert * columnCount..<(expert + 1) * columnCount]), for: info)
        }
        if expert == nil, let importance = TensorImportance(all, for: info) { return importance }
        // What stands for an embedding was counted where it is the head, or by rows of another kind.
        if MixtureCategory(name) == .tokenEmbedding {
            missing.append(info.name)
            return nil
        }
        let matrices = expert == nil ? info.shape.dropLast(2).reduce(1, *) : expertCount
        throw FormatError(
            .invalid(
                field: "importance of '\(name)'", found: "\(all.count) numbers",
                expected: "\(matrices * columnCount), for this model's tensor of shape \(info.shape)"),
            path: path, tensor: info.name)
    }

    /// Says which tensors had no importance.
    func report(to context: PassContext) {
        guard !missing.isEmpty else { return }
        let shown = missing.prefix(3).joined(separator: ", ") + (missing.count > 3 ? ", …" : "")
        context.report(.warning, "the importance matrix says nothing of \(missing.count) tensors: \(shown)")
    }

    /// What the artifact says of the matrix.
    var record: ImportanceRecord {
        ImportanceRecord(
            file: path, dataset: matrix.datasets.first, entryCount: matrix.names.count, chunkCount: matrix.chunkCount)
    }
}

/// Which importance matrix the weights were rounded with, under the keys that llama.cpp's quantizer has for it.
public struct ImportanceRecord: Sendable, Equatable {
    public var file: String
    public var dataset: String?
    public var entryCount: Int
    public var chunkCount: Int

    /// Texts of at most 127 bytes, as there.
    var entries: [(key: String, value: GGUFValue)] {
        var entries: [(key: String, value: GGUFValue)] = [("quantize.imatrix.file", .string(ImportanceRecord.cut(file)))]
        if let dataset { entries.append(("quantize.imatrix.dataset", .string(ImportanceRecord.cut(dataset)))) }
        entries.append(("quantize.imatrix.entries_count", .u32(UInt32(clamping: entryCount))))
        if chunkCount > 0 { entries.append(("quantize.imatrix.chunks_count", .u32(UInt32(clamping: chunkCount)))) }
        return entries
    }

    private static func cut(_ text: String) -> String {
        var text = text
        while text.utf8.count > 127 { text.removeLast() }
        return text
    }
}

/// Whether llama.cpp's quantizer refuses a type without an importance matrix: what comes out would be of no use.
func needsImportance(_ type: GGMLType, name: String, mixture: String?) -> Bool {
    let category = MixtureCategory(name)
    if category == .tokenEmbedding || category == .output { return !Codec.canEncode(Encoding(type)) }
    switch type {
    case .iq3_xxs, .iq2_xxs, .iq2_xs, .iq2_s, .iq1_m, .iq1_s: return true
    case .q2_K: return mixture == Mixture.q2_k_s.rawValue
    default: return false
    }
}
