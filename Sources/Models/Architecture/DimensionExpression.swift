import Formats

/// A size written in terms of hyperparameters: a sum of products and exact quotients.
///
///     sum     = term { "+" term }
///     term    = factor { ("*" | "/") factor }        from left to right
///     factor  = a decimal integer | the name of a hyperparameter
///
/// For example `heads*head-dimension+2*key-value-heads*head-dimension`.
public struct DimensionExpression: Sendable, Hashable {
    public let text: String
    private let terms: [[Step]]

    private struct Step: Hashable {
        var divides: Bool
        var factor: Factor
    }

    private enum Factor: Hashable {
        case integer(Int)
        case hyperparameter(Hyperparameter)
    }

    /// - Returns: `nil` when the text is not an expression.
    init?(_ text: String) {
        self.text = text
        var terms: [[Step]] = []
        for term in text.split(separator: "+", omittingEmptySubsequences: false) {
            var steps: [Step] = []
            for (index, product) in term.split(separator: "*", omittingEmptySubsequences: false).enumerated() {
                for (part, word) in product.split(separator: "/", omittingEmptySubsequences: false).enumerated() {
                    guard let factor = Self.factor(word) else { return nil }
                    steps.append(Step(divides: part > 0, factor: factor))
                }
                if index == 0, steps.isEmpty { return nil }
            }
            terms.append(steps)
        }
        self.terms = terms
    }

    private static func factor(_ word: Substring) -> Factor? {
        if let name = Hyperparameter(rawValue: String(word)) { return .hyperparameter(name) }
        guard !word.isEmpty, word.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return Int(word).map(Factor.integer)
    }

    /// The names the expression needs.
    var names: Set<Hyperparameter> {
        var names: Set<Hyperparameter> = []
        for step in terms.joined() { if case .hyperparameter(let name) = step.factor { names.insert(name) } }
        return names
    }

    /// The value for one model.
    /// - Throws: `ModelError.missingKey` for a hyperparameter the model does not state; `.invalidKey` when a division
    ///   leaves a remainder or the numbers overflow.
    func value(in hyperparameters: Hyperparameters) throws(ModelError) -> Int {
        var sum = 0
        for term in terms {
            var product = 1
            for step in term {
                let factor: Int
                switch step.factor {
                case .integer(let integer): factor = integer
                case .hyperparameter(let name):
                    guard let value = hyperparameters[name] else { throw ModelError(.missingKey(key: name.rawValue)) }
                    factor = value
                }
                if step.divides {
                    guard factor != 0, product % factor == 0 else { throw invalid("\(product) / \(factor)", "a whole number") }
                    product /= factor
                } else {
                    let (next, overflow) = product.multipliedReportingOverflow(by: factor)
                    guard !overflow else { throw invalid("\(product) * \(factor)", "a number of 63 bits") }
                    product = next
                }
            }
            let (next, overflow) = sum.addingReportingOverflow(product)
            guard !overflow else { throw invalid("\(sum) + \(product)", "a number of 63 bits") }
            sum = next
        }
        return sum
    }

    private func invalid(_ found: String, _ expected: String) -> ModelError {
        ModelError(.invalidKey(key: text, found: found, expected: expected))
    }
}
