import Models

/// A score of how a model predicts a text: what `resq eval --metric` names.
public protocol Metric: Sendable {
    /// One phrase that says everything that decides its scores: an interrupted evaluation goes on when it is the same.
    var summary: String { get }
    /// Whether it compares the model with a reference.
    var needsReference: Bool { get }
    /// Whether it looks at logits; others make their figures of what every evaluation computes, and `scores` is not asked.
    var judgesLogits: Bool { get }
    /// One number for each row.
    func scores(of rows: JudgedRows) throws -> [Double]
    /// What is reported of a whole text.
    func figures(of text: JudgedText) -> [Figure]
}

extension Metric {
    public var needsReference: Bool { false }
    public var judgesLogits: Bool { true }
    public func scores(of rows: JudgedRows) throws -> [Double] { [] }
}

/// Some rows of logits, and what the text has there.
public struct JudgedRows: Sendable {
    /// The token that comes after each row.
    public let next: [Int]
    public let vocabulary: Int
    /// `[rows, vocabulary]`
    public let logits: [Float]
    /// The same of the reference; `nil` when there is none.
    public let referenceLogits: [Float]?
}

/// What an evaluation found in all rows of a text.
public struct JudgedText: Sendable {
    /// What every evaluation computes.
    public let summary: EvaluationSummary
    /// The metric's own scores, a number for each row; empty when it does not look at logits.
    public let scores: [Double]

    public init(summary: EvaluationSummary, scores: [Double]) { (self.summary, self.scores) = (summary, scores) }

    /// The mean of the scores and its standard error, from the spread of single tokens.
    public var mean: (value: Double, error: Double) {
        let count = Double(scores.count)
        guard count > 0 else { return (.nan, .nan) }
        let mean = scores.reduce(0, +) / count
        let variance = scores.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count
        return (mean, count > 1 ? (variance / (count - 1)).squareRoot() : 0)
    }
}

/// A number of a report.
public struct Figure: Sendable {
    /// How it is printed for people.
    public enum Style: Sendable, Equatable { case decimals(Int), percent, significant }

    /// What JSON calls it; its error is `KEY_stderr`.
    public let key: String
    /// What people read.
    public let title: String
    public let value: Double
    /// The standard error, where there is one.
    public let error: Double?
    public let style: Style

    public init(_ key: String, title: String, value: Double, error: Double? = nil, style: Style = .significant) {
        (self.key, self.title, self.value, self.error, self.style) = (key, title, value, error, style)
    }
}
