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
    static func progress(isQuiet: Bool) -> (progress: Progress, finish: @Sendable () -> Void) {
        guard standardErrorIsTerminal, !isQuiet else { return (Progress(), {}) }
        let bar = ProgressBar()
        return (Progress { bar.draw($0) }, { bar.finish() })
    }

    private func draw(_ state: Progress.State) {
        drawing.withLock { drawing in
            let now = ContinuousClock.now
            if drawing.phase != state.phase || state.doneByteCount == 0 {
                drawing.phase = state.phase
                drawing.phaseStart = now
            } else if state.doneByteCount < state.totalByteCount, let last = drawing.lastDrawn, now - last < .milliseconds(100) {
                return
            }
            drawing.lastDrawn = now
            drawing.isLineOpen = true
            standardError("\r\u{1B}[K" + line(for: state, elapsed: now - drawing.phaseStart))
        }
    }

    private func line(for state: Progress.State, elapsed: Duration) -> String {
        let fraction = state.totalByteCount > 0 ? Double(state.doneByteCount) / Double(state.totalByteCount) : 1
        let width = 30
        let filled = Int(fraction * Double(width))
        let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: width - filled)
        var line = "\(state.phase.rawValue) [\(bar)] \(formatted(fraction * 100, decimals: 0)) %"
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
        if seconds > 0.2, state.doneByteCount > 0 {
            let rate = Double(state.doneByteCount) / seconds
            let left = Double(state.totalByteCount - state.doneByteCount) / rate
            line += "  \(formatted(bytes: Int(rate)))/s  \(formattedDuration(left)) left"
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
