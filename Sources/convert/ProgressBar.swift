import Passes
import Synchronization

/// One line on standard error that is drawn over itself: what is being done, how far, how fast, how long still.
final class ProgressBar: Sendable {
    private struct Drawing {
        var phase: Progress.Phase?
        var phaseStart = ContinuousClock.now
        var lastDrawn: ContinuousClock.Instant?
        var isLineOpen = false
    }

    private let drawing = Mutex(Drawing())

    /// Progress for a run: drawn when a person is watching and `isQuiet` is false, silent otherwise.
    /// - Parameter observer: called at every step as well, drawn or not.
    static func progress(
        isQuiet: Bool, observer: @escaping @Sendable () -> Void = {}
    ) -> (progress: Progress, finish: @Sendable () -> Void) {
        guard standardErrorIsTerminal, !isQuiet else { return (Progress { _ in observer() }, {}) }
        let bar = ProgressBar()
        return (
            Progress {
                observer()
                bar.draw($0)
            }, { bar.finish() }
        )
    }

    private func draw(_ state: Progress.State) {
        drawing.withLock { drawing in
            let now = ContinuousClock.now
            if drawing.phase != state.phase || state.done == 0 {
                drawing.phase = state.phase
                drawing.phaseStart = now
            } else if state.done < state.total, let last = drawing.lastDrawn, now - last < .milliseconds(100) {
                return
            }
            drawing.lastDrawn = now
            drawing.isLineOpen = true
            standardError("\r\u{1B}[K" + line(for: state, elapsed: now - drawing.phaseStart))
        }
    }

    private func line(for state: Progress.State, elapsed: Duration) -> String {
        let fraction = state.total > 0 ? Double(state.done) / Double(state.total) : 1
        let width = 30
        let filled = Int(fraction * Double(width))
        let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: width - filled)
        var line = "\(state.phase.rawValue) [\(bar)] \(formatted(fraction * 100, decimals: 0)) %"
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
        if seconds > 0.2, state.done > 0 {
            let rate = Double(state.done) / seconds
            let left = Double(state.total - state.done) / rate
            let speed =
                switch state.phase.unit {
                case .bytes: "\(formatted(bytes: Int(rate)))/s"
                case .layers: "\(formatted(rate * 60, decimals: 1)) layers/min"
                case .rows: "\(formatted(rate, decimals: 0)) rows/s"
                case .tokens: "\(formatted(rate, decimals: rate < 99.95 ? 1 : 0)) tokens/s"
                }
            line += "  \(speed)  \(formattedDuration(left)) left"
        }
        return line
    }

    private func formattedDuration(_ seconds: Double) -> String {
        let whole = Int(seconds.rounded(.up))
        guard whole >= 60 else { return "\(whole) s" }
        return whole >= 3600 ? "\(whole / 3600) h \(whole % 3600 / 60) min" : "\(whole / 60) min \(whole % 60) s"
    }

    private func finish() {
        drawing.withLock { drawing in
            if drawing.isLineOpen { standardError("\r\u{1B}[K") }
            drawing.isLineOpen = false
        }
    }
}
