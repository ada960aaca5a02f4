extension Safetensors {
    /// Plans the files that hold these tensors.
    ///
    /// Within a file tensors with wider elements come first (64 bits, 32, 16, then 8 and less), otherwise in the given
    /// order. Data starts on a multiple of eight bytes, so this keeps every tensor aligned to its elements. The header lists
    /// tensors in the order of their data, and `metadata` sorted by key.
    ///
    /// With `shardByteCount` files are filled in the given order, each until the next tensor would bring its tensor data
    /// past that size; a tensor larger than it gets a file of its own. More than one file are called
    /// `model-00001-of-0000N.safetensors` and come with `model.safetensors.index.json`, last.
    ///
    /// - Parameters:
    ///   - fileName: what a single file is called, empty when the output path is itself the file; shards are named after it.
    /// - Throws: `FormatError` for a block-quantized tensor, two tensors of one name, a tensor called `__metadata__`, and a
    ///   header past the format's limit.
    public static func layout(
        tensors: [TensorInfo], metadata: [String: String] = [:], fileName: String = "model.safetensors", shardByteCount: Int? = nil
    ) throws(FormatError) -> ArtifactLayout {
        try check(tensors)
        for key in metadata.keys.sorted(by: ExactString.precedes) where key.utf8.contains(0) {
            throw FormatError(.invalid(field: "key of \(metadataKey)", found: "'\(key)'", expected: "a key without NUL"))
        }
        if let shardByteCount, shardByteCount <= 0 {
            throw FormatError(.invalid(field: "shard size", found: "\(shardByteCount)", expected: "at least one byte"))
        }
        let groups = try shards(of: tensors, shardByteCount: shardByteCount ?? .max)
        guard groups.count > 1 else {
            return ArtifactLayout(files: [try file(tensors, Array(tensors.indices), metadata: metadata, name: fileName)])
        }
        let stem = fileName.hasSuffix(".safetensors") ? String(fileName.dropLast(".safetensors".count)) : fileName
        let base = stem.isEmpty ? "model" : stem
        var files: [FileLayout] = []
        var weightMap: [(tensor: String, file: String)] = []
        for (number, group) in groups.enumerated() {
            let name = "\(base)-\(padded(number + 1))-of-\(padded(groups.count)).safetensors"
            files.append(try file(tensors, group, metadata: metadata, name: name))
            weightMap += group.map { (tensors[$0].name, name) }
        }
        weightMap.sort { ExactString.precedes($0.tensor, $1.tensor) }
        var map = JSONObject()
        for entry in weightMap { map[entry.tensor] = .string(entry.file) }
        // Cannot overflow: the sum was checked when the shards were cut.
        let totalByteCount = tensors.reduce(0) { $0 + $1.byteCount }
        let index: JSONValue = ["metadata": ["total_size": .integer(totalByteCount)], "weight_map": .object(map)]
        files.append(FileLayout(name: "\(base).safetensors.index.json", text: index.text(pretty: true) + "\n"))
        return ArtifactLayout(files: files)
    }

    private static func check(_ tensors: [TensorInfo]) throws(FormatError) {
        var names: Set<ExactString> = []
        for info in tensors {
            guard case .plain = info.encoding else {
                throw FormatError(.unsupported(what: "\(info.encoding.name) in safetensors, which holds plain types only,"), tensor: info.name)
            }
            guard !info.name.utf8.elementsEqual(metadataKey.utf8) else {
                throw FormatError(.unsupported(what: "a tensor called \(metadataKey) in safetensors"), tensor: info.name)
            }
            guard !info.name.utf8.contains(0) else {
                throw FormatError(.invalid(field: "tensor name", found: "a NUL character", expected: "none"), tensor: info.name)
            }
            guard names.insert(ExactString(info.name)).inserted else {
                throw FormatError(.duplicate(field: "tensor", name: info.name), tensor: info.name)
            }
        }
    }

    /// Cuts the tensors into runs of at most that many bytes, by their places.
    private static func shards(of tensors: [TensorInfo], shardByteCount: Int) throws(FormatError) -> [[Int]] {
        var groups: [[Int]] = []
        var group: [Int] = []
        var groupByteCount = 0
        var totalByteCount = 0
        for (index, info) in tensors.enumerated() {
            let (total, overflow) = totalByteCount.addingReportingOverflow(info.byteCount)
            // Headers come on top, so stay well below the end of the number range.
            guard !overflow, total <= Int.max - 2 * maximumHeaderByteCount else {
                throw FormatError(
                    .invalidShape(shape: info.shape, encoding: info.encoding.name, why: "the sum of all byte counts overflows"),
                    tensor: info.name)
            }
            totalByteCount = total
            if !group.isEmpty, groupByteCount + info.byteCount > shardByteCount {
                groups.append(group)
                (group, groupByteCount) = ([], 0)
            }
            group.append(index)
            groupByteCount += info.byteCount
        }
        if !group.isEmpty { groups.append(group) }
        return groups
    }

    private static func file(
        _ tensors: [TensorInfo], _ group: [Int], metadata: [String: String], name: String
    ) throws(FormatError) -> FileLayout {
        let order = group.sorted { a, b in
            let (first, second) = (elementBitWidth(tensors[a]), elementBitWidth(tensors[b]))
            return first == second ? a < b : first > second
        }
        var header = JSONObject()
        if !metadata.isEmpty {
            var object = JSONObject()
            for key in metadata.keys.sorted(by: ExactString.precedes) { object[key] = metadata[key].map(JSONValue.string) }
            header[metadataKey] = .object(object)
        }
        var ends: [Int] = []
        var position = 0
        for index in order {
            let info = tensors[index]
            let begin = position
            position += info.byteCount
            header[info.name] = [
                "dtype": .string(info.encoding.name), "shape": .array(info.shape.map(JSONValue.integer)),
                "data_offsets": [.integer(begin), .integer(position)],
            ]
            ends.append(position)
        }
        var json = JSONValue.object(header).bytes(style: .compact)
        while json.count % dataAlignment != 0 { json.append(UInt8(ascii: " ")) }
        guard json.count <= maximumHeaderByteCount else {
            throw FormatError(
                .invalid(field: "header of \(name)", found: "\(json.count) bytes", expected: "at most \(maximumHeaderByteCount)"))
        }
        let dataStart = 8 + json.count
        let count = UInt64(json.count)
        let bytes = (0..<8).map { UInt8(truncatingIfNeeded: count >> UInt64(8 * $0)) } + json
        let placed = zip(order, ends).map { index, end in
            PlacedTensor(info: tensors[index], byteOffset: dataStart + end - tensors[index].byteCount, index: index)
        }
        return FileLayout(name: name, header: TensorBytes(bytes), tensors: placed, byteCount: dataStart + position)
    }

    private static func elementBitWidth(_ info: TensorInfo) -> Int {
        // Elements of less than a byte need no more alignment than bytes.
        if case .plain(let dtype) = info.encoding { max(dtype.bitWidth, 8) } else { 8 }
    }

    private static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
}

extension FileLayout {
    /// A side file that is nothing but these bytes.
    init(name: String, bytes: TensorBytes) {
        self.init(name: name, header: bytes, tensors: [], byteCount: bytes.count)
    }

    /// A side file of text.
    init(name: String, text: String) { self.init(name: name, bytes: TensorBytes(Array(text.utf8))) }
}
