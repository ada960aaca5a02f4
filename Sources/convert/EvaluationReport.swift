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
        var summary: EvaluationSummary
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
    mutating func add(_ evaluation: Evaluation, _ result: EvaluationRun.Result, byteCount: Int?) {
        windows = Windows(
            summary: EvaluationSummary(result.scores.flatMap(\.self), byteCount: byteCount), count: evaluation.windows.count,
            context: evaluation.context, protocolName: evaluation.protocolName)
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
            let summary = windows.summary
            object["protocol"] = .string(windows.protocolName.rawValue)
            object["context"] = .integer(windows.context)
            put("perplexity", summary.perplexity)
            put("perplexity_stderr", summary.perplexityError)
            if let bits = summary.bitsPerByte { put("bits_per_byte", bits) }
            object["tokens"] = .integer(summary.tokenCount)
            object["windows"] = .integer(windows.count)
            if let divergence = summary.divergence {
                put("kl_divergence", divergence.mean)
                put("kl_divergence_stderr", divergence.meanError)
                put("kl_divergence_median", divergence.median)
                put("kl_divergence_p99", divergence.percentile99)
                put("kl_divergence_max", divergence.maximum)
                put("top1_agreement", divergence.top1Agreement)
                put("logit_rms", divergence.logitRootMeanSquare)
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
            let summary = windows.summary
            rows.append([
                "windows", "\(windows.count) of \(windows.context) tokens, protocol \(windows.protocolName.rawValue), \(summary.tokenCount) tokens judged",
            ])
            rows.append([
                "perplexity", "\(formatted(summary.perplexity, decimals: 4)) ± \(formatted(summary.perplexityError, decimals: 4))",
            ])
            if let bits = summary.bitsPerByte { rows.append(["bits per byte", formatted(bits, decimals: 4)]) }
            if let divergence = summary.divergence {
                rows.append(["against", printable(reference ?? "?")])
                rows.append([
                    "KL divergence",
                    "mean \(formatted(error: divergence.mean)) ± \(formatted(error: divergence.meanError)), median \(formatted(error: divergence.median)), 99 % \(formatted(error: divergence.percentile99)), largest \(formatted(error: divergence.maximum))",
                ])
                rows.append(["same first token", "\(formatted(divergence.top1Agreement * 100, decimals: 2)) %"])
                rows.append(["logit difference", "\(formatted(error: divergence.logitRootMeanSquare)) (root mean square)"])
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
