import Formats

/// Weights that a sequential rounding gave, in the files of its layers.
struct RoundedWeights: Sendable {
    private let places: [String: (source: any TensorSource, index: Int)]
    /// What was remarkable, by tensor, in the order of the layers.
    let remarks: [(tensor: String, remark: String)]

    /// The key of a file's metadata that holds the remarks: lines of a tensor's name, a tab, and a sentence.
    static let remarksKey = "remarks"

    /// - Parameter files: one for each layer.
    init(files: [String]) throws(FormatError) {
        var places: [String: (source: any TensorSource, index: Int)] = [:]
        var remarks: [(tensor: String, remark: String)] = []
        for file in files {
            let source = try openTensorSource(at: file)
            for (index, info) in source.manifest.tensors.enumerated() { places[info.name] = (source, index) }
            guard case .safetensors(let metadata) = source.manifest.metadata else { continue }
            for line in (metadata[Self.remarksKey] ?? "").split(separator: "\n") {
                let fields = line.split(separator: "\t", maxSplits: 1)
                if fields.count == 2 { remarks.append((String(fields[0]), String(fields[1]))) }
            }
        }
        self.places = places
        self.remarks = remarks
    }

    /// Rows of a rounded tensor, which the files hold as plain bytes.
    /// - Parameter info: what the tensor becomes.
    func rows(_ range: Range<Int>, of name: String, as info: TensorInfo) throws -> TensorBytes {
        guard let place = places[name] else { throw FormatError(.missing(field: "rounded tensor", name: name)) }
        guard let rowByteCount = info.rowByteCount else { throw FormatError(.unsupported(what: "rounding to \(info.encoding.name)")) }
        let held = place.source.manifest.tensors[place.index].byteCount
        guard held == info.byteCount else {
            throw FormatError(
                .invalid(field: "size", found: "\(held) bytes", expected: "\(info.byteCount): the file is of another run; remove it"),
                path: place.source.files.first?.path, tensor: name)
        }
        return try place.source.bytes(ofTensorAt: place.index, in: range.lowerBound * rowByteCount..<range.upperBound * rowByteCount)
    }
}

/// A weight as a sequential rounding left it, or a factor of the residual beside it.
struct RoundedRows: TensorOperation {
    /// What the tensor is called in the files of the rounding.
    let name: String
    /// The weight before; `nil` for a factor.
    let input: LazyTensor?
    let rounding: Analysis<RoundedWeights>

    var inputs: [LazyTensor] { input.map { [$0] } ?? [] }
    var summary: String { rounding.summary }

    func rows(_ range: Range<Int>, of info: TensorInfo) throws -> TensorBytes {
        try rounding.result().rows(range, of: name, as: info)
    }
}
