// The GGUF form: for each weight NAME the F32 tensors NAME.in_sum2 (Σx², columns by experts) and NAME.counts (one per expert).

private let sumsSuffix = ".in_sum2"
private let countsSuffix = ".counts"
private let datasetsKey = "imatrix.datasets"
private let chunkCountKey = "imatrix.chunk_count"
private let chunkSizeKey = "imatrix.chunk_size"

extension ImportanceMatrix {
    init(gguf file: GGUFFile) throws(FormatError) {
        guard case .gguf(let metadata) = file.manifest.metadata else { preconditionFailure("GGUF files have GGUF metadata") }
        if let type = metadata["general.type"]?.string, type != "imatrix" {
            throw FormatError(.invalid(field: "general.type", found: type, expected: "imatrix"))
        }
        self.init()
        datasets = try ImportanceMatrix.datasets(metadata)
        chunkCount = try ImportanceMatrix.integer(metadata, chunkCountKey)
        chunkSize = try ImportanceMatrix.integer(metadata, chunkSizeKey)

        var counts: [ExactString: Int] = [:]
        var sums: [(name: String, index: Int)] = []
        for (index, info) in file.manifest.tensors.enumerated() {
            // Other tensors (later versions may have more) do not matter here.
            if info.name.hasSuffix(sumsSuffix) {
                sums.append((String(info.name.dropLast(sumsSuffix.count)), index))
            } else if info.name.hasSuffix(countsSuffix) {
                counts[ExactString(String(info.name.dropLast(countsSuffix.count)))] = index
            }
        }
        for (name, index) in sums {
            guard let countsIndex = counts.removeValue(forKey: ExactString(name)) else {
                throw FormatError(.missing(field: "tensor", name: name + countsSuffix))
            }
            do throws(FormatError) {
                let counts = try ImportanceMatrix.counts(try ImportanceMatrix.floats(file, countsIndex))
                let sums = try ImportanceMatrix.floats(file, index)
                try add(name, Entry(sums: sums, counts: counts))
            } catch {
                throw FormatError(error.reason, path: error.path, tensor: error.tensor ?? name)
            }
        }
        if let lost = counts.values.min() {
            let name = file.manifest.tensors[lost].name.dropLast(countsSuffix.count)
            throw FormatError(.missing(field: "tensor", name: name + sumsSuffix))
        }
    }

    private static func datasets(_ metadata: GGUFMetadata) throws(FormatError) -> [String] {
        guard let value = metadata[datasetsKey] else { throw FormatError(.missing(field: "key", name: datasetsKey)) }
        guard let array = value.array, array.elementType == .string else {
            throw FormatError(.invalid(field: datasetsKey, found: "\(value.type)", expected: "an array of strings"))
        }
        return array.values().compactMap(\.string)
    }

    private static func integer(_ metadata: GGUFMetadata, _ key: String) throws(FormatError) -> Int {
        guard let value = metadata[key] else { throw FormatError(.missing(field: "key", name: key)) }
        guard let number = value.integer, number >= 0, number <= UInt32.max else {
            throw FormatError(
                .invalid(field: key, found: value.integer.map { "\($0)" } ?? "\(value.type)", expected: "an integer of 32 bits, not negative"))
        }
        return number
    }

    private static func floats(_ file: GGUFFile, _ index: Int) throws(FormatError) -> [Float] {
        let info = file.manifest.tensors[index]
        guard info.encoding == .plain(.f32) else {
            throw FormatError(.invalid(field: "type", found: info.encoding.name, expected: "F32"), tensor: info.name)
        }
        let stored = try file.bytes(ofTensorAt: index)
        let bytes = stored.bytes
        return (0..<info.elementCount).map { Float(bitPattern: bytes.littleEndian(at: 4 * $0)) }
    }

    /// Counts are stored as F32; those are rounded.
    private static func counts(_ numbers: [Float]) throws(FormatError) -> [Int] {
        var counts: [Int] = []
        for (index, number) in numbers.enumerated() {
            guard number >= 0, number < 0x1p62 else {
                throw FormatError(.invalid(field: "count \(index)", found: "\(number)", expected: "a finite number, not negative"))
            }
            counts.append(Int(number.rounded(.toNearestOrAwayFromZero)))
        }
        return counts
    }

    /// Writes the GGUF form, the entries in the order of their names, as llama.cpp's tool does: what that tool wrote comes
    /// out the same, byte for byte.
    /// - Throws: `.invalid` for names and numbers that do not fit the form; what writing throws.
    public func write(to path: String) throws(FormatError) {
        do throws(FormatError) {
            let bytes = try encoded()
            try OutputFile.write(bytes.rawBytes, to: path)
        } catch {
            throw error.at(path: path)
        }
    }

    /// The bytes of the GGUF form.
    package func encoded() throws(FormatError) -> [UInt8] {
        guard let chunkCount = UInt32(exactly: chunkCount), let chunkSize = UInt32(exactly: chunkSize) else {
            throw FormatError(
                .invalid(field: "chunk count or size", found: "\(chunkCount), \(chunkSize)", expected: "an integer of 32 bits, not negative"))
        }
        var metadata = GGUFMetadata()
        metadata["general.type"] = .string("imatrix")
        metadata[datasetsKey] = .array(GGUFArray(strings: datasets))
        metadata[chunkCountKey] = .u32(chunkCount)
        metadata[chunkSizeKey] = .u32(chunkSize)
        var tensors: [TensorInfo] = []
        var contents: [[Float]] = []
        for name in names.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            guard let entry = self[name] else { continue }
            let rows = entry.counts.count
            let columns = entry.sums.count / rows
            tensors.append(
                try TensorInfo(name: name + sumsSuffix, encoding: .plain(.f32), shape: rows > 1 ? [rows, columns] : [columns]))
            tensors.append(try TensorInfo(name: name + countsSuffix, encoding: .plain(.f32), shape: rows > 1 ? [rows, 1] : [1]))
            contents += [entry.sums, entry.counts.map(Float.init)]
        }
        let file = try GGUF.layout(tensors: tensors, metadata: metadata).files[0]
        var bytes = file.header.array
        for (tensor, numbers) in zip(file.tensors, contents) {
            bytes.append(contentsOf: repeatElement(0, count: tensor.byteOffset - bytes.count))
            for number in numbers { bytes.append(littleEndian: number.bitPattern) }
        }
        bytes.append(contentsOf: repeatElement(0, count: file.byteCount - bytes.count))
        return bytes
    }
}
