// A split model: files PREFIX-00001-of-0000N.gguf, each a whole GGUF file with some of the tensors and the keys
//   split.no             u16, counted from 0
//   split.count          u16
//   split.tensors.count  i32, tensors of all files
// All other metadata stand in the first file (reference: llama-gguf-split).

/// What a file says of the split model it belongs to.
struct GGUFSplit {
    let number: Int
    let count: Int
    let tensorCount: Int?
    /// The path up to `-00001-of-0000N.gguf`.
    let prefix: String

    static let numberKey = "split.no"
    static let countKey = "split.count"
    static let tensorCountKey = "split.tensors.count"
    static let keys = [numberKey, tensorCountKey, countKey]

    /// The name of one file of a split model.
    static func path(prefix: String, number: Int, count: Int) -> String {
        "\(prefix)-\(fiveDigits(number + 1))-of-\(fiveDigits(count)).gguf"
    }

    /// Reads the keys and the file's name; `nil` when the model is whole.
    init?(_ metadata: GGUFMetadata, path: String) throws(FormatError) {
        guard let count = try Self.count(metadata), count > 1 else { return nil }
        guard let number = try Self.integer(metadata, Self.numberKey, .u16) else {
            throw FormatError(.missing(field: "key", name: Self.numberKey))
        }
        guard number < count else {
            throw FormatError(.invalid(field: Self.numberKey, found: "\(number)", expected: "below split.count, \(count)"))
        }
        let suffix = Self.path(prefix: "", number: number, count: count)
        guard path.hasSuffix(suffix) else {
            throw FormatError(.invalid(field: "the name of a split file", found: path, expected: "a name ending in \(suffix)"))
        }
        self.number = number
        self.count = count
        tensorCount = try Self.integer(metadata, Self.tensorCountKey, .i32)
        prefix = String(path.dropLast(suffix.count))
    }

    /// The number of files, `nil` when the key is not there; 0 in files that `llama-gguf-split --merge` put together.
    static func count(_ metadata: GGUFMetadata) throws(FormatError) -> Int? {
        try integer(metadata, countKey, .u16)
    }

    private static func integer(_ metadata: GGUFMetadata, _ key: String, _ type: GGUFValueType) throws(FormatError) -> Int? {
        guard let value = metadata[key] else { return nil }
        guard value.type == type, let integer = value.integer else {
            throw FormatError(.invalid(field: key, found: "of type \(value.type)", expected: "a \(type)"))
        }
        return integer
    }

    /// Opens every file of the model, in order, and checks that they belong together.
    func openAll(from opened: GGUFShard) throws(FormatError) -> [GGUFShard] {
        var shards: [GGUFShard] = []
        var names: Set<ExactString> = []
        for index in 0..<count {
            let path = Self.path(prefix: prefix, number: index, count: count)
            let shard = index == number ? opened : try Self.openShard(path, askedFor: opened.path)
            let found = try shard.split()
            guard let found, found.number == index, found.count == count else {
                let claim = found.map { "\($0.number) of \($0.count)" } ?? "not split"
                throw FormatError(.invalid(field: Self.numberKey, found: claim, expected: "\(index) of \(count)"), path: path)
            }
            for tensor in shard.header.tensors where !names.insert(ExactString(tensor.name)).inserted {
                throw FormatError(.duplicate(field: "tensor name", name: tensor.name), path: path)
            }
            shards.append(shard)
        }
        if let expected = try shards[0].split()?.tensorCount, expected != names.count {
            throw FormatError(
                .invalid(field: Self.tensorCountKey, found: "\(expected)", expected: "\(names.count), the tensors of all files"),
                path: shards[0].path)
        }
        return shards
    }

    private static func openShard(_ path: String, askedFor: String) throws(FormatError) -> GGUFShard {
        do throws(FormatError) {
            return try GGUFShard(path: path)
        } catch {
            if case .system("open", _) = error.reason { throw FormatError(.missing(field: "shard", name: path), path: askedFor) }
            throw error
        }
    }
}

private func fiveDigits(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 5 - digits.utf8.count)) + digits
}
