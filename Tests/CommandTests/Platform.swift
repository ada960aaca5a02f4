import Foundation
import Subprocess

/// Whether a device of that path is there, such as `/dev/full` on Linux.
func deviceExists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

/// Whether calls of a process can be watched and made to fail: `strace` is there and allowed.
///
/// `scripts/test` installs it; some containers forbid it.
let canTrace = commandSucceeds("strace -f -o /dev/null -e trace=none true")

/// Whether a file system in memory can be mounted: on Linux, for root, outside most containers.
let canMount = commandSucceeds("d=$(mktemp -d) && mount -t tmpfs -o size=64k tmpfs \"$d\" && umount \"$d\" && rmdir \"$d\"")

struct ShellError: Error { let command: String }

func shell(_ command: String) async throws {
    let result = try await run(.name("sh"), arguments: ["-c", command], output: .discarded, error: .discarded)
    guard result.terminationStatus.isSuccess else { throw ShellError(command: command) }
}

/// What a shell command prints.
func output(of command: String, in folder: String) async throws -> String {
    let result = try await run(
        .name("sh"), arguments: ["-c", "cd \"$0\" && " + command, folder], output: .string(limit: 1 << 20), error: .discarded)
    guard result.terminationStatus.isSuccess else { throw ShellError(command: command) }
    return result.standardOutput
}

/// Whether a shell command ends well.
func commandSucceeds(_ command: String) -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", command]
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
}

/// Runs the first closure and then, however it ended, the second.
func withCleanUp(_ body: () async throws -> Void, finally cleanUp: () async -> Void) async throws {
    do { try await body() } catch {
        await cleanUp()
        throw error
    }
    await cleanUp()
}
