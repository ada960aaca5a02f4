import Formats

extension TemplateEvaluator {
    func compute(_ operation: TemplateOperation, _ a: TemplateValue, _ b: TemplateValue) throws(TemplateError) -> TemplateValue {
        for case .undefined(let why) in [a, b] { throw error("\(why), so '\(operation.rawValue)' has no result") }
        if let a = a.asInteger, let b = b.asInteger, let result = try integers(operation, a, b) { return result }
        if let a = a.asNumber, let b = b.asNumber { return try numbers(operation, a, b) }
        switch (operation, a, b) {
        case (.add, .string(let a), .string(let b)):
            try spend(bytes: a.utf8.count + b.utf8.count)
            return .string(a + b)
        case (.add, .sequence(let a), .sequence(let b)) where a.kind == b.kind && (a.kind == .list || a.kind == .tuple):
            return try sequence(a.kind, a.elements + b.elements)
        case (.multiply, .string, _), (.multiply, .sequence, _):
            if let count = b.asInteger { return try repeated(a, count) }
        case (.multiply, _, .string), (.multiply, _, .sequence):
            if let count = a.asInteger { return try repeated(b, count) }
        default: break
        }
        throw error("'\(operation.rawValue)' does not go with \(a.kind) and \(b.kind)")
    }

    private func repeated(_ value: TemplateValue, _ count: Int) throws(TemplateError) -> TemplateValue {
        let size = if case .string(let text) = value { 1 + text.utf8.count } else { try elements(of: value).count + 1 }
        let (total, overflow) = size.multipliedReportingOverflow(by: max(0, count))
        try spend(overflow ? Int.max : total)
        if case .string(let text) = value { return .string(String(repeating: text, count: max(0, count))) }
        guard case .sequence(let sequence) = value else { return value }
        return try self.sequence(sequence.kind, Array(repeatElement(sequence.elements, count: max(0, count)).joined()))
    }

    /// - Returns: `nil` where the result is no integer.
    private func integers(_ operation: TemplateOperation, _ a: Int, _ b: Int) throws(TemplateError) -> TemplateValue? {
        let result: (partialValue: Int, overflow: Bool)
        switch operation {
        case .add: result = a.addingReportingOverflow(b)
        case .subtract: result = a.subtractingReportingOverflow(b)
        case .multiply: result = a.multipliedReportingOverflow(by: b)
        case .divide: return nil
        case .floorDivide, .remainder:
            if b == 0 { throw error("a number is divided by zero") }
            let (quotient, overflow) = a.dividedReportingOverflow(by: b)
            let remainder = a.remainderReportingOverflow(dividingBy: b).partialValue
            // The quotient is rounded down, and the remainder has the sign of the divisor.
            let isRounded = remainder != 0 && (remainder < 0) != (b < 0)
            result = operation == .floorDivide ? (isRounded ? quotient - 1 : quotient, overflow) : (isRounded ? remainder + b : remainder, false)
        }
        if result.overflow { throw error("a number does not fit 64 bits") }
        return .integer(result.partialValue)
    }

    private func numbers(_ operation: TemplateOperation, _ a: Double, _ b: Double) throws(TemplateError) -> TemplateValue {
        if b == 0, operation == .divide || operation == .floorDivide || operation == .remainder { throw error("a number is divided by zero") }
        switch operation {
        case .add: return .number(a + b)
        case .subtract: return .number(a - b)
        case .multiply: return .number(a * b)
        case .divide: return .number(a / b)
        case .floorDivide: return .number((a / b).rounded(.down))
        case .remainder:
            let remainder = a.truncatingRemainder(dividingBy: b)
            return .number(remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder)
        }
    }

    func holds(_ relation: TemplateRelation, _ a: TemplateValue, _ b: TemplateValue) throws(TemplateError) -> Bool {
        switch relation {
        case .equal, .unequal:
            try spend(bytes: min(a.weight, b.weight))
            return TemplateValue.equal(a, b) == (relation == .equal)
        case .inside: return try contains(b, a)
        case .outside: return !(try contains(b, a))
        case .less: return try precedes(a, b)
        case .greater: return try precedes(b, a)
        case .lessOrEqual: return try !precedes(b, a) && isNumber(a, b)
        case .greaterOrEqual: return try !precedes(a, b) && isNumber(a, b)
        }
    }

    /// Whether neither is the number that is none.
    private func isNumber(_ a: TemplateValue, _ b: TemplateValue) -> Bool {
        a.asNumber?.isNaN != true && b.asNumber?.isNaN != true
    }

    /// Whether one is less than the other.
    func precedes(_ a: TemplateValue, _ b: TemplateValue) throws(TemplateError) -> Bool {
        try spend(1)
        if let a = a.asInteger, let b = b.asInteger { return a < b }
        if let a = a.asNumber, let b = b.asNumber { return a < b }
        switch (a, b) {
        case (.string(let a), .string(let b)):
            try spend(bytes: min(a.utf8.count, b.utf8.count))
            return ExactString.precedes(a, b)
        case (.sequence(let a), .sequence(let b)) where a.kind == b.kind:
            try spend(bytes: min(a.weight, b.weight))
            for (first, second) in zip(a.elements, b.elements) where !TemplateValue.equal(first, second) { return try precedes(first, second) }
            return a.elements.count < b.elements.count
        default: throw error("\(a.kind) and \(b.kind) have no order")
        }
    }

    private func contains(_ container: TemplateValue, _ value: TemplateValue) throws(TemplateError) -> Bool {
        switch container {
        case .string(let text):
            guard case .string(let part) = value else { throw error("\(value.kind) cannot be in a string") }
            try spend(bytes: text.utf8.count + part.utf8.count)
            return text.firstPlace(of: part) != nil
        case .sequence(let sequence):
            try spend(sequence.elements.count)
            for element in sequence.elements where try holds(.equal, element, value) { return true }
            return false
        case .dictionary(let dictionary): return dictionary[value] != nil
        case .undefined: return false
        default: throw error("\(container.kind) has no elements")
        }
    }
}

extension String {
    /// Where a text stands first, byte for byte, at or after a place: its offset in UTF-8.
    func firstPlace(of part: String, from start: Int = 0) -> Int? {
        let text = utf8Span.span, part = part.utf8Span.span
        guard part.count > 0 else { return start <= text.count ? start : nil }
        var place = start
        while place + part.count <= text.count {
            if text[place] == part[0] {
                var length = 1
                while length < part.count, text[place + length] == part[length] { length += 1 }
                if length == part.count { return place }
            }
            place += 1
        }
        return nil
    }

    /// The text between two offsets of its UTF-8, which are at code points.
    func part(_ range: Range<Int>) -> String {
        let start = utf8.index(utf8.startIndex, offsetBy: range.lowerBound)
        return String(self[start..<utf8.index(start, offsetBy: range.count)])
    }
}
