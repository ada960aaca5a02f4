import Formats

/// One run over a text: the steps of a tokenizer with all that is reused from piece to piece.
struct TextEncoder {
    private let tokenizer: Tokenizer
    private(set) var ids: [Int] = []
    private var splitters: [PatternMatches?]
    private var cache: WordCache
    private var merger = BytePairMerger()
    private var lattice = UnigramModel.Scratch()

    init(_ tokenizer: Tokenizer, textByteCount: Int) {
        self.tokenizer = tokenizer
        cache = WordCache(textByteCount: textByteCount)
        splitters = tokenizer.preTokenization.steps.map { step in
            if case .split(let pattern, _, _) = step { PatternMatches(pattern) } else { nil }
        }
        ids.reserveCapacity(textByteCount / 3 + 8)
    }

    /// Cuts out added tokens, normalizes what is between, cuts out those that are looked for in normalized text.
    mutating func encode(_ text: Span<UInt8>, parsesSpecial: Bool) throws(ModelError) {
        var end = 0
        for match in tokenizer.addedTokens.matches(in: text, isNormalized: false, parsesSpecial: parsesSpecial) {
            if match.range.lowerBound > end {
                try normalize(text.extracting(end..<match.range.lowerBound), isStart: end == 0, parsesSpecial: parsesSpecial)
            }
            ids.append(match.id)
            end = match.range.upperBound
        }
        if end < text.count { try normalize(text.extracting(end..<text.count), isStart: end == 0, parsesSpecial: parsesSpecial) }
    }

    private mutating func normalize(_ text: Span<UInt8>, isStart: Bool, parsesSpecial: Bool) throws(ModelError) {
        guard !tokenizer.normalizer.isIdentity else {
            return try cutNormalized(text, isStart: isStart, parsesSpecial: parsesSpecial)
        }
        var bytes: [UInt8] = []
        bytes.append(text)
        let normalized = tokenizer.normalizer.normalized(bytes)
        try cutNormalized(normalized.span, isStart: isStart, parsesSpecial: parsesSpecial)
    }

    private mutating func cutNormalized(_ text: Span<UInt8>, isStart: Bool, parsesSpecial: Bool) throws(ModelError) {
        var end = 0
        for match in tokenizer.addedTokens.matches(in: text, isNormalized: true, parsesSpecial: parsesSpecial) {
            if match.range.lowerBound > end { try apply(0, to: text.extracting(end..<match.range.lowerBound), isStart: isStart && end == 0) }
            ids.append(match.id)
            end = match.range.upperBound
        }
        if end < text.count { try apply(0, to: text.extracting(end..<text.count), isStart: isStart && end == 0) }
    }

    /// The steps of the pre-tokenizer from one on, then the model.
    private mutating func apply(_ step: Int, to text: Span<UInt8>, isStart: Bool) throws(ModelError) {
        guard text.count > 0 else { return }
        guard step < tokenizer.preTokenization.steps.count else { return try encodeWord(text) }
        switch tokenizer.preTokenization.steps[step] {
        case .split(_, let behavior, let isInverted): try split(step, text, behavior, isInverted: isInverted, isStart: isStart)
        case .prefixSpace:
            if text[0] == 0x20 { return try apply(step + 1, to: text, isStart: isStart) }
            var bytes: [UInt8] = [0x20]
            bytes.append(text)
            try apply(step + 1, to: bytes.span, isStart: isStart)
        case .metaspace(let replacement, let scheme):
            var bytes: [UInt8] = []
            bytes.reserveCapacity(text.count + text.count / 2)
            let startsWith = text[0] == 0x20 || Self.starts(text, replacement)
            if !startsWith, scheme == .always || (scheme == .first && isStart) { bytes += replacement }
            var end = 0
            for index in text.indices where text[index] == 0x20 {
                bytes.append(text.extracting(end..<index))
                bytes += replacement
                end = index + 1
            }
            bytes.append(text.extracting(end..<text.count))
            try apply(step + 1, to: bytes.span, isStart: isStart)
        case .byteAlphabet: try apply(step + 1, to: ByteAlphabet.encoded(text).span, isStart: isStart)
        case .fixedLength(let length):
            var start = 0, count = 0, end = 0
            while end < text.count {
                end += text.scalar(at: end).count
                count += 1
                if count == length || end == text.count {
                    try apply(step + 1, to: text.extracting(start..<end), isStart: isStart && start == 0)
                    (start, count) = (end, 0)
                }
            }
        }
    }

    private static func starts(_ text: Span<UInt8>, _ prefix: [UInt8]) -> Bool {
        guard text.count >= prefix.count else { return false }
        for index in prefix.indices where text[index] != prefix[index] { return false }
        return true
    }

    private mutating func split(
        _ step: Int, _ text: Span<UInt8>, _ behavior: PreTokenization.Behavior, isInverted: Bool, isStart: Bool
    ) throws(ModelError) {
        guard behavior == .isolated || behavior == .removed else {
            for piece in merged(step, text, behavior, isInverted: isInverted) {
                try apply(step + 1, to: text.extracting(piece), isStart: isStart && piece.lowerBound == 0)
            }
            return
        }
        let keepsMatches = behavior == .isolated || isInverted, keepsRest = behavior == .isolated || !isInverted
        var end = 0
        splitters[step]?.restart()
        while let match = splitters[step]?.next(in: text) {
            if keepsRest, match.lowerBound > end {
                try apply(step + 1, to: text.extracting(end..<match.lowerBound), isStart: isStart && end == 0)
            }
            if keepsMatches { try apply(step + 1, to: text.extracting(match), isStart: isStart && match.lowerBound == 0) }
            end = match.upperBound
        }
        if keepsRest, end < text.count { try apply(step + 1, to: text.extracting(end..<text.count), isStart: isStart && end == 0) }
    }

    /// Pieces of the behaviours that join matches with what stands beside them.
    private mutating func merged(
        _ step: Int, _ text: Span<UInt8>, _ behavior: PreTokenization.Behavior, isInverted: Bool
    ) -> [Range<Int>] {
        var parts: [(range: Range<Int>, isMatch: Bool)] = []
        var end = 0
        splitters[step]?.restart()
        while let match = splitters[step]?.next(in: text) {
            if match.lowerBound > end { parts.append((end..<match.lowerBound, isInverted)) }
            parts.append((match, !isInverted))
            end = match.upperBound
        }
        if end < text.count { parts.append((end..<text.count, isInverted)) }
        if behavior == .mergedWithNext { parts.reverse() }
        var pieces: [Range<Int>] = []
        var wasMatch = false
        for part in parts {
            let joins = behavior == .contiguous ? part.isMatch == wasMatch : part.isMatch && !wasMatch
            if joins, let last = pieces.last {
                pieces[pieces.count - 1] = min(last.lowerBound, part.range.lowerBound)..<max(last.upperBound, part.range.upperBound)
            } else {
                pieces.append(part.range)
            }
            wasMatch = part.isMatch
        }
        if behavior == .mergedWithNext { pieces.reverse() }
        return pieces
    }

    // MARK: The model

    private mutating func encodeWord(_ word: Span<UInt8>) throws(ModelError) {
        switch tokenizer.model {
        case .bytePair(let model):
            if word.count > WordCache.longestWord {
                encode(long: word, model)
            } else {
                encode(short: word, model)
            }
        case .unigram(let model):
            let hash = WordCache.hash(word)
            if cache.append(word, hash, to: &ids) { return }
            let first = ids.count
            try model.encode(word, &lattice, into: &ids)
            if word.count <= WordCache.longestWord { cache.insert(word, hash, ids[first...]) }
        case .wordPiece(let model): model.encode(word, into: &ids)
        case .wordLevel(let model): try model.encode(word, into: &ids)
        }
    }

    /// A word that can be kept.
    private mutating func encode(short word: Span<UInt8>, _ model: BytePairModel) {
        let hash = WordCache.hash(word)
        if cache.append(word, hash, to: &ids) { return }
        let first = ids.count
        if model.ignoresMerges, let id = model.wholeWord(word) {
            ids.append(Int(id))
        } else {
            merger.tokens.removeAll(keepingCapacity: true)
            appendFirstTokens(word, model)
            merger.merge(model.merges)
            for token in merger.tokens { ids.append(Int(token)) }
        }
        cache.insert(word, hash, ids[first...])
    }

    /// A long word, cut where no merge reaches across.
    private mutating func encode(long word: Span<UInt8>, _ model: BytePairModel) {
        if model.ignoresMerges, let id = model.wholeWord(word) { return ids.append(Int(id)) }
        guard let boundaries = model.boundaries else { return encode(whole: word, model) }
        var start = 0
        if model.isByteLevel {
            for place in word.indices.dropFirst()
            where model.singles[Int(word[place - 1])] >= 0 && model.singles[Int(word[place])] >= 0
                && !boundaries.joins(word[place - 1], word[place])
            {
                encode(part: word.extracting(start..<place), model)
                start = place
            }
        } else {
            var place = 0
            var last: Int32 = -1
            var lastByte: UInt8 = 0x80
            while place < word.count {
                let count = word.scalar(at: place).count
                let byte = word[place]
                let token = model.single(word.extracting(place..<place + count))
                if token >= 0, last >= 0, !(byte < 0x80 && lastByte < 0x80 ? boundaries.joins(lastByte, byte) : boundaries.joins(last, token)) {
                    encode(part: word.extracting(start..<place), model)
                    start = place
                }
                last = token
                lastByte = byte
                place += count
            }
        }
        encode(part: word.extracting(start..<word.count), model)
    }

    /// A part between boundaries: no whole-word tokens are looked for.
    private mutating func encode(part: Span<UInt8>, _ model: BytePairModel) {
        guard part.count <= WordCache.longestWord, !model.ignoresMerges else { return encode(whole: part, model) }
        encode(short: part, model)
    }

    private mutating func encode(whole word: Span<UInt8>, _ model: BytePairModel) {
        merger.tokens.removeAll(keepingCapacity: true)
        appendFirstTokens(word, model)
        merger.merge(model.merges)
        for token in merger.tokens { ids.append(Int(token)) }
    }

    /// The tokens of single characters, with what stands for those that the vocabulary does not hold.
    private mutating func appendFirstTokens(_ word: Span<UInt8>, _ model: BytePairModel) {
        var unknown: Int32?
        var place = 0
        var decorated: [UInt8] = []
        let isPlain = model.continuingPrefix.isEmpty && model.endSuffix.isEmpty
        while place < word.count {
            let count = model.isByteLevel ? 1 : word.scalar(at: place).count
            let character = word.extracting(place..<place + count)
            var token: Int32
            if isPlain {
                token = model.isByteLevel ? model.singles[Int(word[place])] : model.single(character)
            } else {
                decorated.removeAll(keepingCapacity: true)
                if place > 0 { decorated += model.continuingPrefix.utf8 }
                if model.isByteLevel { decorated.append(scalar: ByteAlphabet.scalars[Int(word[place])]) } else { decorated.append(character) }
                if place + count == word.count { decorated += model.endSuffix.utf8 }
                token = model.vocabulary.find(decorated.span) ?? -1
            }
            place += count
            if token >= 0 {
                if let pending = unknown { merger.tokens.append(pending) }
                unknown = nil
                merger.tokens.append(token)
                continue
            }
            if !model.byteTokens.isEmpty {
                if isPlain {
                    decorated.removeAll(keepingCapacity: true)
                    if model.isByteLevel { decorated.append(scalar: ByteAlphabet.scalars[Int(character[0])]) } else { decorated.append(character) }
                }
                if decorated.allSatisfy({ model.byteTokens[Int($0)] >= 0 }) {
                    for byte in decorated { merger.tokens.append(model.byteTokens[Int(byte)]) }
                    continue
                }
            }
            if let id = model.unknown {
                if let pending = unknown, !model.fusesUnknown { merger.tokens.append(pending) }
                unknown = id
            }
        }
        if let pending = unknown { merger.tokens.append(pending) }
    }
}
