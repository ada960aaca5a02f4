import Foundation
import Testing

/// The `zstd` program that the system brings: what others use to pack and unpack.
struct StockZstd {
    private let executable: URL

    init() throws {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
        let found = folders.map { "\($0)/zstd" }.first { FileManager.default.isExecutableFile(atPath: $0) }
        executable = URL(fileURLWithPath: try #require(found, "the zstd program is not installed (apt-get install zstd)"))
    }

    /// Runs `zstd` and returns its exit status.
    @discardableResult func run(_ arguments: String...) throws -> Int32 {
        let process = Process()
        process.executableURL = executable
        process.arguments = ["-q"] + arguments
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }
}
