/// How a text becomes windows, and which of their tokens count.
public enum EvaluationProtocol: String, Sendable, CaseIterable {
    /// The one of papers: windows side by side, every token after the first of its window counts.
    case huggingFace = "hf"
    /// The one of llama.cpp: every window begins with BOS where the model wants one, and tokens of its second half count.
    case llamaCpp = "llama.cpp"

    /// The context that people mean when they name none.
    public var defaultContext: Int { self == .huggingFace ? 2048 : 512 }

    /// The rows of a window whose logits are judged; row r predicts token r + 1.
    func scoredRows(context: Int) -> Range<Int> {
        switch self {
        case .huggingFace: 0..<context - 1
        case .llamaCpp: context / 2..<context - 1
        }
    }

    /// Cuts tokens into whole windows; what is left over is not used.
    /// - Parameters:
    ///   - bos: the token that replaces the first of each window in llama.cpp's protocol; `nil` for none.
    ///   - limit: the most windows.
    func windows(of tokens: [Int], context: Int, bos: Int?, limit: Int?) -> [[Int]] {
        let count = min(tokens.count / context, limit ?? Int.max)
        return (0..<count).map { index in
            var window = Array(tokens[index * context..<(index + 1) * context])
            if self == .llamaCpp, let bos { window[0] = bos }
            return window
        }
    }
}
