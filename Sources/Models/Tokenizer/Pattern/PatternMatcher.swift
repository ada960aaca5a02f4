/// Finds the matches of a pattern in one text, from left to right. Keep one per text: what it has learned holds for that text.
struct PatternMatcher {
    private struct Frame {
        var instruction: Int32
        /// For a lazy loop: how many code points it may still take.
        var remaining: Int32
        var place: Int
        /// For a greedy loop: the first place it can give back to; -1 for a fork, -2 for a lazy loop.
        var lowest: Int
    }

    private let pattern: Pattern
    private var stack: [Frame] = []
    private var steps = 0
    private var memory: PatternMemory?

    init(_ pattern: Pattern) { self.pattern = pattern }

    /// Forgets the text.
    mutating func restart() {
        steps = 0
        memory = nil
    }

    /// The next match at or after a place.
    mutating func firstMatch(in text: Span<UInt8>, from start: Int) -> Range<Int>? {
        var place = start
        while place < text.count {
            let byte = text[place]
            if pattern.firstBytes.contains(byte), byte & 0xC0 != 0x80 {
                stack.removeAll(keepingCapacity: true)
                if let end = run(text, from: 0, at: place) {
                    memory?.forget(0..<pattern.program.count, end...end)
                    return place..<end
                }
            }
            place += 1
        }
        guard place == text.count, pattern.firstBytes.isAll else { return nil }
        stack.removeAll(keepingCapacity: true)
        return run(text, from: 0, at: place) == nil ? nil : place..<place
    }

    /// Runs the program from an instruction to `accept`.
    /// - Returns: where the match ends.
    private mutating func run(_ text: Span<UInt8>, from first: Int, at start: Int) -> Int? {
        let base = stack.count
        var instruction = first
        var place = start
        let end = text.count
        while true {
            steps += 1
            let current = pattern.program[instruction]
            let matches: Bool
            switch current.operation {
            case .set:
                matches = takeOne(current, text, &place)
                instruction += 1
            case .loop, .possessiveLoop:
                matches = takeMany(current, instruction, text, &place)
                instruction += 1
            case .lazyLoop:
                let count = skip(current, text, &place, limit: current.minimum)
                matches = count >= current.minimum
                if matches, current.maximum > current.minimum {
                    let remaining = current.maximum == .max ? .max : current.maximum - current.minimum
                    stack.append(Frame(instruction: Int32(instruction), remaining: remaining, place: place, lowest: -2))
                }
                instruction += 1
            case .fork:
                matches = true
                let bytes = pattern.byteSets[Int(current.y)]
                if place < end ? bytes.contains(text[place]) : bytes.isAll {
                    stack.append(Frame(instruction: current.x, remaining: 0, place: place, lowest: -1))
                    instruction += 1
                } else {
                    instruction = Int(current.x)
                }
            case .jump:
                matches = true
                instruction = Int(current.x)
            case .look:
                let found = run(text, from: instruction + 1, at: place)
                if let found { memory?.forget(instruction + 1..<Int(current.x), place...found) }
                matches = (found != nil) == (current.y == 0)
                instruction = Int(current.x)
            case .atomic:
                let found = run(text, from: instruction + 1, at: place)
                if let found {
                    memory?.forget(instruction + 1..<Int(current.x), place...found)
                    place = found
                }
                matches = found != nil
                instruction = Int(current.x)
            case .accept:
                stack.removeLast(stack.count - base)
                return place
            default:
                matches = holds(current, text, place)
                instruction += 1
            }
            if !matches {
                guard let resumed = resume(text, above: base) else { return nil }
                (instruction, place) = resumed
            }
        }
    }

    @inline(__always)
    private func takeOne(_ current: Pattern.Instruction, _ text: Span<UInt8>, _ place: inout Int) -> Bool {
        guard place < text.count else { return false }
        let (scalar, count) = text.scalar(at: place)
        guard pattern.sets[Int(current.x)].contains(scalar) else { return false }
        place += count
        return true
    }

    /// Takes up to `limit` code points of a loop's set. - Returns: how many there were.
    @inline(__always)
    private func skip(_ current: Pattern.Instruction, _ text: Span<UInt8>, _ place: inout Int, limit: Int32) -> Int32 {
        var count: Int32 = 0
        let index = Int(current.x)
        let low = pattern.sets[index].low, high = pattern.sets[index].high
        while count < limit, place < text.count {
            let byte = text[place]
            if byte < 0x80 {
                if (byte < 64 ? low >> UInt64(byte) : high >> UInt64(byte & 63)) & 1 == 0 { break }
                place += 1
            } else {
                let (scalar, width) = text.scalar(at: place)
                if !pattern.sets[index].contains(scalar) { break }
                place += width
            }
            count += 1
        }
        return count
    }

    /// A greedy loop: takes all it can and leaves the ways back on the stack.
    @inline(__always)
    private mutating func takeMany(
        _ current: Pattern.Instruction, _ instruction: Int, _ text: Span<UInt8>, _ place: inout Int
    ) -> Bool {
        let start = place
        guard skip(current, text, &place, limit: current.minimum) == current.minimum else { return false }
        let lowest = place
        let isUnlimited = current.maximum == .max
        if isUnlimited, let run = memory?.run(of: instruction, at: place) {
            // The same characters were taken before from further left, and some ways on were tried then.
            place = run.end
            if current.operation == .loop, run.tried <= place {
                if run.tried <= lowest { return false }
                place = text.scalarStart(before: run.tried)
            }
        } else {
            let count = skip(current, text, &place, limit: isUnlimited ? .max : current.maximum - current.minimum)
            steps += Int(count)
            if isUnlimited { memory?.setRun(of: instruction, start, place) }
        }
        if current.operation == .loop {
            if place > lowest { stack.append(Frame(instruction: Int32(instruction + 1), remaining: 0, place: place, lowest: lowest)) }
            if isUnlimited { memory?.lower(instruction, to: place) }
        }
        return true
    }

    /// Anchors and what stands before.
    private func holds(_ current: Pattern.Instruction, _ text: Span<UInt8>, _ place: Int) -> Bool {
        let end = text.count
        func isMember(before: Bool) -> Bool {
            guard before ? place > 0 : place < end else { return false }
            return pattern.sets[Int(current.x)].contains(text.scalar(at: before ? text.scalarStart(before: place) : place).value)
        }
        switch current.operation {
        case .behind: return isMember(before: true) == (current.y == 0)
        case .lineStart: return place == 0 || (text[place - 1] == 0x0A && place < end)
        case .lineEnd: return place == end || text[place] == 0x0A
        case .textStart: return place == 0
        case .textEnd: return place == end
        case .lastLineEnd: return place == end || (place == end - 1 && text[place] == 0x0A)
        case .wordBoundary: return isMember(before: true) != isMember(before: false)
        default: return isMember(before: true) == isMember(before: false)
        }
    }

    /// Takes the way that was left open last.
    private mutating func resume(_ text: Span<UInt8>, above base: Int) -> (instruction: Int, place: Int)? {
        while stack.count > base {
            steps += 1
            // Ordinary text takes a few steps per byte.
            if memory == nil, steps > 64 * (text.count + 1024) {
                memory = PatternMemory(instructions: pattern.program.count, byteCount: text.count)
            }
            let top = stack.count - 1
            let instruction = Int(stack[top].instruction)
            let place: Int
            switch stack[top].lowest {
            case -1:
                place = stack[top].place
                stack.removeLast()
                if memory?.insert(instruction, place) == true { continue }
                return (instruction, place)
            case -2:
                var next = stack[top].place
                guard skip(pattern.program[instruction], text, &next, limit: 1) == 1 else {
                    stack.removeLast()
                    continue
                }
                stack[top].place = next
                if stack[top].remaining != .max { stack[top].remaining -= 1 }
                if stack[top].remaining == 0 { stack.removeLast() }
                if memory?.insert(instruction, next) == true { continue }
                return (instruction + 1, next)
            default:
                place = text.scalarStart(before: stack[top].place)
                if place <= stack[top].lowest { stack.removeLast() } else { stack[top].place = place }
                if pattern.program[instruction - 1].maximum == .max { memory?.lower(instruction - 1, to: place) }
                if memory?.insert(instruction, place) == true { continue }
                return (instruction, place)
            }
        }
        return nil
    }
}
