import Formats

/// `tokenizer.model`: SentencePiece's `ModelProto` in protocol-buffer encoding.
///
/// A message is a run of fields: a varint `number << 3 | wire type`, then the value (0: varint, 1: 8 bytes, 2: varint byte
/// count and bytes, 5: 4 bytes).
///
/// | message | field | number | type |
/// |---|---|---|---|
/// | ModelProto | pieces (repeated SentencePiece), in the order of ids | 1 | message |
/// | | trainer_spec, normalizer_spec | 2, 3 | message |
/// | SentencePiece | piece, score, type (the numbers of GGUF's token types) | 1, 2, 3 | string, float, varint |
/// | TrainerSpec | model_type (1 unigram, 2 BPE) | 3 | varint |
/// | | vocab_size; byte_fallback | 4; 35 | varint |
/// | | unk_id, bos_id, eos_id, pad_id; their pieces | 40...43; 45...48 | varint; string |
/// | NormalizerSpec | name, precompiled_charsmap | 1, 2 | string, bytes |
/// | | add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces | 3, 4, 5 | varint |
struct SentencePieceModel {
    enum Kind: UInt64 {
        case unigram = 1, bpe = 2
    }

    var kind = Kind.unigram
    var pieces = StringTable()
    var scores: [Float] = []
    var types: [TokenizerDescription.TokenType] = []
    var usesByteFallback = false
    /// `unk_id`, `bos_id`, `eos_id`, `pad_id`, -1 for none.
    var unkID = 0, bosID = 1, eosID = 2, padID = -1
    var addsDummyPrefix = true
    var removesExtraWhitespaces = true
    var precompiledCharsmap: [UInt8] = []

    init() {}

    /// - Throws: `.invalidKey` naming the field, for bytes that are not a model.
    init(parsing bytes: TensorBytes, path: String) throws(ModelError) {
        do throws(ProtobufError) {
            var message = ProtobufReader(bytes.bytes)
            while let field = try message.next() {
                switch (field.number, field.value) {
                case (1, .bytes(let range)): try readPiece(ProtobufReader(bytes.bytes, range))
                case (2, .bytes(let range)): try readTrainer(ProtobufReader(bytes.bytes, range))
                case (3, .bytes(let range)): try readNormalizer(bytes, range)
                case (1...3, _): throw ProtobufError(field: "field \(field.number)", found: "a number", expected: "a message")
                default: break
                }
            }
        } catch {
            throw ModelError(.invalidKey(key: error.field, found: error.found, expected: error.expected), path: path)
        }
        guard pieces.count > 0 else {
            throw ModelError(.invalidKey(key: "pieces", found: "none", expected: "a vocabulary"), path: path)
        }
    }

    private mutating func readPiece(_ piece: consuming ProtobufReader) throws(ProtobufError) {
        let name = "piece \(pieces.count)"
        var text = "", score: Float = 0, type = TokenizerDescription.TokenType.normal
        while let field = try piece.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let range)): text = try piece.text(range, name)
            case (2, .fixed32(let bits)): score = Float(bitPattern: bits)
            case (3, .varint(let number)):
                guard let known = Int32(exactly: number).flatMap(TokenizerDescription.TokenType.init) else {
                    throw ProtobufError(field: "\(name), type", found: "\(number)", expected: "1 to 6")
                }
                type = known
            case (1...3, _): throw ProtobufError(field: "\(name), field \(field.number)", found: "another wire type", expected: "its own")
            default: break
            }
        }
        pieces.append(text)
        scores.append(score)
        types.append(type)
    }

    private mutating func readTrainer(_ spec: consuming ProtobufReader) throws(ProtobufError) {
        while let field = try spec.next() {
            guard case .varint(let number) = field.value else { continue }
            switch field.number {
            case 3:
                guard let known = Kind(rawValue: number) else {
                    throw ProtobufError(field: "trainer_spec.model_type", found: "\(number)", expected: "1 (unigram) or 2 (BPE)")
                }
                kind = known
            case 35: usesByteFallback = number != 0
            case 40: unkID = Int(Int32(truncatingIfNeeded: number))
            case 41: bosID = Int(Int32(truncatingIfNeeded: number))
            case 42: eosID = Int(Int32(truncatingIfNeeded: number))
            case 43: padID = Int(Int32(truncatingIfNeeded: number))
            default: break
            }
        }
    }

    private mutating func readNormalizer(_ bytes: TensorBytes, _ range: Range<Int>) throws(ProtobufError) {
        var spec = ProtobufReader(bytes.bytes, range)
        while let field = try spec.next() {
            switch (field.number, field.value) {
            case (2, .bytes(let range)): precompiledCharsmap = bytes[range].array
            case (3, .varint(let flag)): addsDummyPrefix = flag != 0
            case (4, .varint(let flag)): removesExtraWhitespaces = flag != 0
            default: break
            }
        }
    }

    /// The model as a file.
    func encoded() -> [UInt8] {
        var model = ProtobufWriter()
        for id in pieces.indices {
            var piece = ProtobufWriter()
            piece.append(1, text: pieces[id])
            piece.append(2, float: scores[id])
            if types[id] != .normal { piece.append(3, varint: UInt64(types[id].rawValue)) }
            model.append(1, bytes: piece.bytes)
        }
        var trainer = ProtobufWriter()
        trainer.append(3, varint: kind.rawValue)
        trainer.append(4, varint: UInt64(pieces.count))
        trainer.append(35, varint: usesByteFallback ? 1 : 0)
        for (number, id) in [(40, unkID), (41, bosID), (42, eosID), (43, padID)] {
            trainer.append(number, varint: UInt64(bitPattern: Int64(id)))
        }
        for (number, id) in [(45, unkID), (46, bosID), (47, eosID), (48, padID)] where pieces.indices.contains(id) {
            trainer.append(number, text: pieces[id])
        }
        model.append(2, bytes: trainer.bytes)
        var normalizer = ProtobufWriter()
        normalizer.append(1, text: precompiledCharsmap.isEmpty ? "identity" : "nmt_nfkc")
        if !precompiledCharsmap.isEmpty { normalizer.append(2, bytes: precompiledCharsmap) }
        normalizer.append(3, varint: addsDummyPrefix ? 1 : 0)
        normalizer.append(4, varint: removesExtraWhitespaces ? 1 : 0)
        normalizer.append(5, varint: 1)
        model.append(3, bytes: normalizer.bytes)
        return model.bytes
    }
}
