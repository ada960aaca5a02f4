/// How much each input column of a model's weights matters: the sums of squares of what the columns were multiplied with
/// while the model read some text.
///
/// Names are those of the weights in GGUF. The weights of stacked experts have one row of sums, and one count, per expert.
/// Written and read in the two forms that llama.cpp has: a GGUF file, and (reading only) an older one without a name.
public struct ImportanceMatrix: Sendable, Equatable {
    /// What was seen of one weight's inputs.
    public struct Entry: Sendable, Equatable {
        /// Σx² per column, of one expert after another.
        public let sums: [Float]
        /// How many vectors the sums are of, per expert.
        public let counts: [Int]

        /// - Throws: `.invalid` when there are no counts or sums, when the sums are not as many for each count, or when one
        ///   is negative or not a finite number.
        public init(sums: [Float], counts: [Int]) throws(FormatError) {
            guard !counts.isEmpty, !sums.isEmpty, sums.count % counts.count == 0 else {
                throw FormatError(
                    .invalid(field: "sums of squares", found: "\(sums.count)", expected: "as many for each of \(counts.count) counts"))
            }
            if let bad = sums.firstIndex(where: { !($0 >= 0 && $0.isFinite) }) {
                throw FormatError(
                    .invalid(field: "sum of squares \(bad)", found: "\(sums[bad])", expected: "a finite number, not negative"))
            }
            if let bad = counts.firstIndex(where: { $0 < 0 }) {
                throw FormatError(.invalid(field: "count \(bad)", found: "\(counts[bad])", expected: "0 or more"))
            }
            self.sums = sums
            self.counts = counts
        }

        /// The mean square of every column, Σx² / count; 1 for an expert that nothing went through.
        public var importance: [Float] {
            let columnCount = sums.count / counts.count
            return sums.indices.map { index in
                let count = counts[index / columnCount]
                return count > 0 ? sums[index] / Float(count) : 1
            }
        }
    }

    /// The weights, in the order of the file.
    public private(set) var names: [String] = []
    private var entries: [ExactString: Entry] = [:]
    /// The texts that were read, by the names of their files.
    public var datasets: [String]
    /// How many pieces of text were read, and the tokens of each; 0 when it is not known.
    public var chunkCount: Int, chunkSize: Int

    public init(datasets: [String] = [], chunkCount: Int = 0, chunkSize: Int = 0) {
        self.datasets = datasets
        self.chunkCount = chunkCount
        self.chunkSize = chunkSize
    }

    /// What was seen of a weight, by its GGUF name.
    public subscript(name: String) -> Entry? { entries[ExactString(name)] }

    /// Adds an entry.
    /// - Throws: `.duplicate` when the name is there already.
    public mutating func add(_ name: String, _ entry: Entry) throws(FormatError) {
        guard entries.updateValue(entry, forKey: ExactString(name)) == nil else {
            throw FormatError(.duplicate(field: "importance of the weight", name: name))
        }
        names.append(name)
    }

    /// Reads a file of either form.
    /// - Throws: `FormatError` naming the file and the entry that is wrong: cut off, a name twice, a sum without a count,
    ///   negative or not finite numbers; and for a file that is none or holds nothing.
    public init(path: String) throws(FormatError) {
        let file = try MappedFile(path: path)
        try self.init(file.bytes, path: path)
    }

    /// Reads bytes that are already in memory.
    package init(_ bytes: TensorBytes, path: String) throws(FormatError) {
        do throws(FormatError) {
            let isGGUF = bytes.count >= 4 && bytes.bytes.littleEndian(UInt32.self, at: 0) == GGUFHeader.magic
            try self.init(isGGUF: isGGUF, bytes, path: path)
        } catch {
            throw error.at(path: path)
        }
    }

    private init(isGGUF: Bool, _ bytes: TensorBytes, path: String) throws(FormatError) {
        if isGGUF { try self.init(gguf: GGUFFile(bytes, path: path)) } else { try self.init(legacy: bytes) }
        guard !names.isEmpty else {
            throw FormatError(.missing(field: "importance matrix", name: "an entry"))
        }
    }
}
