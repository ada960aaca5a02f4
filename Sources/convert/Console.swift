#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

import Formats

/// Writes data to standard output; ends the program when they do not arrive, as on a full disk.
func standardOutput(_ text: String) {
    let number = write(text, to: STDOUT_FILENO)
    guard number != 0 else { return }
    standardError("error: \(FormatError(.system(call: "write", errno: number), path: "standard output"))\n")
    exit(Failure.ioError)
}

/// Writes progress and remarks to standard error; where nobody listens they are lost.
func standardError(_ text: String) { _ = write(text, to: STDERR_FILENO) }

/// Gives closed standard descriptors a place in `/dev/null` that cannot be used.
///
/// The next file that is opened would otherwise get the number of a closed output, and with it what is meant for that output.
func occupyStandardDescriptors() {
    for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) == -1 {
        // The lowest free number is the closed one. The path is copied for the call.
        _ = unsafe open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
    }
}

/// - Returns: 0, or the error's number.
private func write(_ text: String, to descriptor: Int32) -> Int32 {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
        // The slice's storage is alive and this long.
        let count = unsafe bytes.withUnsafeBytes { buffer in unsafe writeBytes(descriptor, buffer.baseAddress, buffer.count) }
        if count > 0 {
            bytes = bytes.dropFirst(count)
        } else if errno != EINTR {
            return errno
        }
    }
    return 0
}

/// Whether a person is watching standard error.
var standardErrorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

/// Columns of text, padded to the widest cell; numbers go to the right.
func table(_ rows: [[String]], rightAligned: Set<Int> = []) -> String {
    var widths: [Int] = []
    for row in rows {
        for (column, cell) in row.enumerated() {
            if column == widths.count { widths.append(0) }
            widths[column] = max(widths[column], cell.count)
        }
    }
    var text = ""
    for row in rows {
        var line = ""
        for (column, cell) in row.enumerated() {
            let padding = String(repeating: " ", count: widths[column] - cell.count)
            line += (column == 0 ? "" : "  ") + (rightAligned.contains(column) ? padding + cell : cell + padding)
        }
        text += line.trimmingTrailingSpaces + "\n"
    }
    return text
}

extension String {
    fileprivate var trimmingTrailingSpaces: String {
        var copy = self
        while copy.last == " " { copy.removeLast() }
        return copy
    }
}

/// A byte count for people: `98.4 MB`.
func formatted(bytes: Int) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"]
    var value = Double(bytes), unit = 0
    while value >= 999.5, unit < units.count - 1 { (value, unit) = (value / 1000, unit + 1) }
    return unit == 0 ? "\(bytes) B" : "\(formatted(value, decimals: value < 99.95 ? 1 : 0)) \(units[unit])"
}

/// A time of processors for people: `42 CPU-seconds`, `3.4 CPU-hours`.
func formatted(cpuSeconds: Double) -> String {
    if cpuSeconds < 120 { return "\(formatted(cpuSeconds, decimals: cpuSeconds < 10 ? 1 : 0)) CPU-seconds" }
    if cpuSeconds < 7200 { return "\(formatted(cpuSeconds / 60, decimals: 0)) CPU-minutes" }
    return "\(formatted(cpuSeconds / 3600, decimals: cpuSeconds < 360_000 ? 1 : 0)) CPU-hours"
}

/// A number with a fixed number of decimals.
func formatted(_ value: Double, decimals: Int) -> String {
    guard value.isFinite else { return value.isNaN ? "nan" : value < 0 ? "-inf" : "inf" }
    var scale = 1.0
    for _ in 0..<decimals { scale *= 10 }
    let scaled = (value.magnitude * scale).rounded()
    guard scaled < 1e18 else { return "\(value)" }
    let whole = Int(scaled) / Int(scale), rest = Int(scaled) % Int(scale)
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard decimals > 0 else { return "\(sign)\(whole)" }
    return "\(sign)\(whole)." + String(repeating: "0", count: decimals - "\(rest)".count) + "\(rest)"
}

/// A small number with three significant digits: `0.0417`, `1.2e-07`.
func formatted(error value: Double) -> String {
    guard value.isFinite, value != 0 else { return value == 0 ? "0" : formatted(value, decimals: 0) }
    var exponent = 0, mantissa = value.magnitude
    while mantissa >= 9.995 { (mantissa, exponent) = (mantissa / 10, exponent + 1) }
    while mantissa < 0.9995 { (mantissa, exponent) = (mantissa * 10, exponent - 1) }
    if exponent >= -4 && exponent <= 5 { return formatted(value, decimals: max(0, 2 - exponent)) }
    return "\(value < 0 ? "-" : "")\(formatted(mantissa, decimals: 2))e\(exponent < 0 ? "-" : "+")\(abs(exponent) < 10 ? "0" : "")\(abs(exponent))"
}

/// All of standard input.
/// - Throws: `FormatError` when it cannot be read.
func readStandardInput() throws(FormatError) -> TensorBytes {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        // The buffer is this long and lives through the call.
        let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(STDIN_FILENO, $0.baseAddress, $0.count) }
        if count < 0 {
            if errno == EINTR { continue }
            throw FormatError(.system(call: "read", errno: errno), path: "standard input")
        }
        if count == 0 { return TensorBytes(bytes) }
        bytes += buffer[..<count]
    }
}
