import Formats
import Models
import Passes

/// What an evaluation found, as text and as JSON.
struct EvaluationReport {
    private let model: String
    private let reference: String?
    private let threadCount: Int
    private var windows: Windows?
    private var choices: ChoiceSummary?
    /// Tokens that went through the model in this process, and how long that took.
    private var work: (tokenCount: Int, seconds: Double) = (0, 0)
    var peakMemoryByteCount = 0

    private struct Windows {
        var tokenCount: Int
        /// What each metric says, in the order they were asked for.
        var figures: [(metric: any Metric, figures: [Figure])]
        var count: Int
        var context: Int
        var protocolName: EvaluationProtocol
    }

    init(model: String, reference: String?, threadCount: Int) {
        self.model = model
        self.reference = reference
        self.threadCount = threadCount
    }

    /// - Parameter byteCount: bytes of text that the judged tokens stand for, when they are known.
    mutating func add(_ evaluation: Evaluation, _ metrics: [any Metric], _ result: EvaluationRun.Result, byteCount: Int?) {
        let summary = EvaluationSummary(result.scores.flatMap(\.self), byteCount: byteCount)
        windows = Windows(
            tokenCount: summary.tokenCount,
            figures: zip(metrics, result.metricScores).map { ($0, $0.figures(of: JudgedText(summary: summary, scores: $1))) },
            count: evaluation.windows.count, context: evaluation.context, protocolName: evaluation.protocolName)
        add(result.freshWindowCount * evaluation.context, result.duration)
    }

    mutating func add(_ evaluation: ChoiceEvaluation, _ result: ChoiceRun.Result) {
        choices = ChoiceSummary(evaluation.items, logLikelihoods: result.logLikelihoods)
        add(result.freshTokenCount, result.duration)
    }

    private mutating func add(_ tokenCount: Int, _ duration: Duration) {
        work.tokenCount += tokenCount
        work.seconds += Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
    }

    /// `nil` when everything came from the work folder.
    private var tokensPerSecond: Double? { work.tokenCount > 0 ? Double(work.tokenCount) / work.seconds : nil }

    var json: JSONValue {
        var object: JSONObject = ["model": .string(model)]
        if let reference { object["reference"] = .string(reference) }
        func put(_ key: String, _ value: Double?) { object[key] = value.json }
        if let windows {
            object["protocol"] = .string(windows.protocolName.rawValue)
            object["context"] = .integer(windows.context)
            object["tokens"] = .integer(windows.tokenCount)
            object["windows"] = .integer(windows.count)
            for figure in windows.figures.flatMap(\.figures) {
                put(figure.key, figure.value)
                if let error = figure.error { put(figure.key + "_stderr", error) }
            }
        }
        if let choices {
            object["items"] = .integer(choices.itemCount)
            put("accuracy", choices.accuracy)
            put("accuracy_stderr", choices.accuracyError)
            put("accuracy_normalized", choices.normalizedAccuracy)
            put("accuracy_normalized_stderr", choices.normalizedAccuracyError)
        }
        put("tokens_per_second", tokensPerSecond)
        object["peak_memory_bytes"] = .integer(peakMemoryByteCount)
        return .object(object)
    }

    var text: String {
        var rows: [[String]] = []
        if let windows {
            rows.append([
                "windows", "\(windows.count) of \(windows.context) tokens, protocol \(windows.protocolName.rawValue), \(windows.tokenCount) tokens judged",
            ])
            let first = windows.figures.firstIndex { $0.metric.needsReference }
            for (place, (_, figures)) in windows.figures.enumerated() {
                if place == first { rows.append(["against", printable(reference ?? "?")]) }
                for figure in figures { rows.append([printable(figure.title), figure.text]) }
            }
        }
        if let choices {
            func percent(_ share: Double, _ error: Double) -> String {
                "\(formatted(share * 100, decimals: 2)) % ± \(formatted(error * 100, decimals: 2))"
            }
            rows.append(["questions", "\(choices.itemCount)"])
            rows.append(["accuracy", percent(choices.accuracy, choices.accuracyError)])
            rows.append(["accuracy per byte", percent(choices.normalizedAccuracy, choices.normalizedAccuracyError)])
        }
        rows.append(["speed", tokensPerSecond.map { "\(formatted($0, decimals: 0)) tokens/s with \(threadCount) threads" } ?? "nothing was left to run"])
        rows.append(["memory", formatted(bytes: peakMemoryByteCount)])
        return table(rows)
    }
}

extension Figure {
    /// The value, with its error where there is one.
    fileprivate var text: String {
        func words(_ value: Double) -> String {
            switch style {
            case .decimals(let count): formatted(value, decimals: count)
            case .percent: formatted(value * 100, decimals: 2)
            case .significant: formatted(error: value)
            }
        }
        return words(value) + (error.map { " ± " + words($0) } ?? "") + (style == .percent ? " %" : "")
    }
}
