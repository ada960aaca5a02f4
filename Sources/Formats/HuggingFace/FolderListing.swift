#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Names of a folder's entries in the order of their bytes, without `.` and `..`. Names that are not UTF-8 are left out.
func folderEntries(_ path: String) throws(FormatError) -> [String] {
    // A path with a NUL inside would silently name another folder.
    guard !path.utf8.contains(0) else {
        throw FormatError(.invalid(field: "path", found: "a NUL byte", expected: "none"), path: path)
    }
    guard let folder = unsafe opendir(path) else { throw FormatError(.system(call: "opendir", errno: errno), path: path) }
    defer { unsafe closedir(folder) }
    var names: [String] = []
    while true {
        errno = 0
        guard let entry = unsafe readdir(folder) else { break }
        // The entry lives until the next readdir, and its name ends with a NUL.
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { start in
            unsafe start.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(validatingCString: $0) }
        }
        if let name, name != ".", name != ".." { names.append(name) }
    }
    guard errno == 0 else { throw FormatError(.system(call: "readdir", errno: errno), path: path) }
    return names.sorted(by: ExactString.precedes)
}

/// Whether a path is a folder, links followed.
func isFolder(_ path: String) -> Bool { !path.utf8.contains(0) && pathStatus(path)?.kind == S_IFDIR }
