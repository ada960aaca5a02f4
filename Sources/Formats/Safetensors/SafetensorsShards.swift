/// A checkpoint in several safetensors files, held together by an index.
///
/// The index is JSON, `{"metadata": {"total_size": BYTES}, "weight_map": {TENSOR: FILE}}`. Files are named by what they are
/// called in the index's own folder. Tensors come in the order of the file names, then of their data.
public final class SafetensorsShards: TensorSource {
    public let manifest: Manifest
    public let files: [SourceFile]
    /// The `__metadata__` of all shards; where two shards differ, the first one's.
    public let metadata: [String: String]
    private let shards: [SafetensorsFile]
    /// For each tensor its shard, and its place there.
    private let places: [(shard: Int, index: Int)]

    /// Opens an index and all shards it names, and checks that map and shards agree.
    /// - Throws: `FormatError` for a file name that leaves the folder, a shard that is missing, and a tensor that is in
    ///   the map but not in its shard or the other way round.
    public init(indexPath: String) throws(FormatError) {
        let index = try MappedFile(path: indexPath)
        let (folder, indexName) = splitPath(indexPath)
        let map: [ExactString: String]
        do {
            map = try Self.weightMap(JSONValue(parsing: index.bytes))
        } catch {
            throw error.at(path: indexPath)
        }
        func wrong(_ reason: FormatError.Reason, tensor: String?) -> FormatError {
            FormatError(reason, path: indexPath, tensor: tensor)
        }

        var shards: [SafetensorsFile] = []
        var tensors: [TensorInfo] = []
        var byteOffsets: [Int] = []
        var metadata: [String: String] = [:]
        var places: [(shard: Int, index: Int)] = []
        let names = Set(map.values.map(ExactString.init)).map(\.string).sorted(by: ExactString.precedes)
        for name in names {
            let shard: SafetensorsFile
            do {
                shard = try SafetensorsFile(path: folder + name)
            } catch {
                if case .system(_, errno: noSuchFile) = error.reason { throw wrong(.missing(field: "shard", name: name), tensor: nil) }
                throw error
            }
            for (place, info) in shard.manifest.tensors.enumerated() {
                guard let mapped = map[ExactString(info.name)] else {
                    throw wrong(.missing(field: "weight_map entry for a tensor of '\(name)':", name: info.name), tensor: info.name)
                }
                guard ExactString(mapped) == ExactString(name) else {
                    throw wrong(
                        .invalid(field: "weight_map", found: "'\(mapped)'", expected: "'\(name)', where the tensor is"), tensor: info.name)
                }
                tensors.append(info)
                byteOffsets.append(shard.manifest.byteOffsets[place])
                places.append((shards.count, place))
            }
            metadata.merge(shard.metadata) { first, _ in first }
            shards.append(shard)
        }
        // No shard has a tensor that the map does not have in it, so equal counts mean equal sets.
        if tensors.count != map.count {
            let present = Set(tensors.map { ExactString($0.name) })
            let lost = map.keys.filter { !present.contains($0) }.map(\.string).sorted(by: ExactString.precedes)[0]
            throw wrong(.missing(field: "tensor of shard '\(map[ExactString(lost)] ?? "")':", name: lost), tensor: lost)
        }
        self.shards = shards
        self.places = places
        self.metadata = metadata
        self.files = [SourceFile(path: folder + indexName, byteCount: index.byteCount)] + shards.flatMap(\.files)
        self.manifest = Manifest(format: .safetensors, tensors: tensors, metadata: .safetensors(metadata), byteOffsets: byteOffsets)
    }

    public func bytes(ofTensorAt index: Int) throws(FormatError) -> TensorBytes {
        let place = places[index]
        return try shards[place.shard].bytes(ofTensorAt: place.index)
    }

    private static func weightMap(_ index: JSONValue) throws(FormatError) -> [ExactString: String] {
        guard index.object != nil else {
            throw FormatError(.invalid(field: "index", found: index.kind, expected: "an object with weight_map"))
        }
        guard let value = index["weight_map"] else { throw FormatError(.missing(field: "key", name: "weight_map")) }
        guard let entries = value.object else {
            throw FormatError(.invalid(field: "weight_map", found: value.kind, expected: "an object of file names"))
        }
        var map: [ExactString: String] = [:]
        map.reserveCapacity(entries.count)
        for tensor in entries.keys {
            guard let name = entries[tensor]?.string else {
                throw FormatError(
                    .invalid(field: "weight_map", found: entries[tensor]?.kind ?? "nothing", expected: "a file name"), tensor: tensor)
            }
            guard isFileName(name) else {
                throw FormatError(
                    .invalid(field: "weight_map", found: "'\(name)'", expected: "the name of a file in the index's own folder"), tensor: tensor)
            }
            map[ExactString(tensor)] = name
        }
        return map
    }
}

/// Whether a name stands for an entry of a folder and cannot lead out of it.
func isFileName(_ name: String) -> Bool {
    !name.isEmpty && name != "." && name != ".." && !name.utf8.contains(UInt8(ascii: "/")) && !name.utf8.contains(0)
        && name.utf8.count <= 255
}

/// A path's folder, with its slash or empty, and its last part.
func splitPath(_ path: String) -> (folder: String, name: String) {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return ("", path) }
    return (String(path[...slash]), String(path[path.utf8.index(after: slash)...]))
}

private let noSuchFile: Int32 = 2
