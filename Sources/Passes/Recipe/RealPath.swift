#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The absolute path with all links followed, or `nil` when there is nothing.
func realPath(of path: String) -> String? {
    // The C library allocates the answer and hands it over; it ends in NUL.
    guard let resolved = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(resolved) }
    return unsafe String(cString: resolved)
}

/// Whether a file may be run as a program.
func isExecutable(_ path: String) -> Bool {
    // The path is copied for the call.
    unsafe access(path, X_OK) == 0
}
