import Formats

/// Token sequences on their way through the layers: the residual stream of every token, sequence after sequence.
public struct Batch: Sendable {
    /// Tokens of one sequence.
    public struct Sequence: Sendable {
        /// Its rows in the batch.
        public let rows: Range<Int>
        /// The position of its first token: how many came before, in a cache.
        public let start: Int
    }

    public let sequences: [Sequence]
    /// `[tokens, hidden]`.
    public internal(set) var hidden: [Float]
    /// The position of each row.
    let positions: [Int]
    /// Memory for what a layer computes on the way.
    var scratch = Scratch()

    public var tokenCount: Int { positions.count }

    struct Scratch: Sendable {
        var normed: [Float] = []
        var queries: [Float] = []
        var keys: [Float] = []
        var values: [Float] = []
        var attention: [Float] = []
        var gate: [Float] = []
        var up: [Float] = []
        var out: [Float] = []

        /// Lets an array have at least `count` elements; what they are does not matter.
        static func reserve(_ array: inout [Float], _ count: Int) {
            if array.count < count { array = [Float](repeating: 0, count: count) }
        }
    }

    /// A batch with a residual stream of the caller's, such as one kept on disk between layers.
    public init(hidden: [Float], lengths: [Int], starts: [Int]? = nil) {
        var row = 0
        sequences = lengths.enumerated().map { index, length in
            defer { row += length }
            return Sequence(rows: row..<row + length, start: starts?[index] ?? 0)
        }
        positions = sequences.flatMap { sequence in (0..<sequence.rows.count).map { sequence.start + $0 } }
        self.hidden = hidden
    }

    /// The attention's rows `[tokens, heads · dimension]`, before o.
    package func attentionRows(of network: Network) -> [Float] { Array(scratch.attention.prefix(tokenCount * network.queryWidth)) }

    /// Puts back rows that `attentionRows` gave.
    package mutating func setAttentionRows(_ rows: [Float], of network: Network) {
        precondition(rows.count == tokenCount * network.queryWidth, "a row for every token")
        scratch.attention = rows
    }

    /// Exchanges the memory that a layer works in with another batch's; fresh memory for every batch costs more than some of the work.
    package mutating func exchangeScratch(with other: inout Batch) { swap(&scratch, &other.scratch) }

    /// Gives back the memory that only a layer needs.
    public mutating func dropScratch() { scratch = Scratch() }

    /// Where rows stand in the text.
    struct Places: Sendable {
        fileprivate let sequences: [Sequence]
        fileprivate let positions: [Int]
        /// The batch's row for each row; `nil` for the batch's rows from `first` on.
        var rows: [Int]?
        var first = 0

        /// The sequence and position a row stands for.
        func place(ofRow row: Int) -> (sequence: Int, position: Int) {
            let row = rows?[row] ?? first + row
            return (sequences.firstIndex { $0.rows.contains(row) } ?? 0, positions[row])
        }
    }

    var places: Places { Places(sequences: sequences, positions: positions) }

    /// The places of some of the rows, in the order given.
    func places(of rows: [Int]) -> Places { Places(sequences: sequences, positions: positions, rows: rows) }

    /// The places of the rows from one on.
    func places(from first: Int) -> Places { Places(sequences: sequences, positions: positions, first: first) }

    /// The sequence and position a row stands for.
    func place(ofRow row: Int) -> (sequence: Int, position: Int) { places.place(ofRow: row) }
}

extension Network {
    /// The embeddings of token sequences.
    /// - Parameter starts: the position of each sequence's first token, 0 when left out.
    /// - Throws: `ForwardError.tokenOutOfRange`, `.emptySequence`; errors of reading the embedding.
    public func embed(_ sequences: [[Int]], starts: [Int]? = nil) throws -> Batch {
        let width = model.hyperparameters.hidden
        let vocabulary = model.hyperparameters.vocabulary
        guard let info = weights.info(of: embeddingName) else {
            throw ModelError(.missingTensors(names: [embeddingName], count: 1))
        }
        guard sequences.allSatisfy({ !$0.isEmpty }) else { throw ForwardError.emptySequence }
        let limit = min(vocabulary, info.rowCount)
        var hidden = [Float](repeating: 0, count: sequences.reduce(0) { $0 + $1.count } * width)
        var firstRow: [Int: Int] = [:]
        var row = 0
        for sequence in sequences {
            for (position, token) in sequence.enumerated() {
                guard (0..<limit).contains(token) else {
                    throw ForwardError.tokenOutOfRange(id: token, position: position, vocabulary: limit)
                }
                if let earlier = firstRow[token] {
                    for column in 0..<width { hidden[row * width + column] = hidden[earlier * width + column] }
                } else {
                    let stored = try weights.bytes(of: embeddingName, rows: token..<token + 1)
                    var all = hidden.mutableSpan
                    var target = all.part(row * width..<(row + 1) * width)
                    try Codec.decode(info.encoding, stored.bytes, into: &target)
                    for column in 0..<width { target[column] *= parameters.embeddingScale }
                    firstRow[token] = row
                }
                row += 1
            }
        }
        return Batch(hidden: hidden, lengths: sequences.map(\.count), starts: starts)
    }
}
