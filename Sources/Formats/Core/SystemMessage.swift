#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The system's own sentence for an error number.
func systemMessage(_ number: Int32) -> String {
    // strerror's storage belongs to the C library and is copied before anything else can call it here.
    guard let text = unsafe strerror(number) else { return "error \(number)" }
    return unsafe String(cString: text)
}
