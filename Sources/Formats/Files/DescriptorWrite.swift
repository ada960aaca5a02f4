#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// write(2), under a name that methods called `write` do not hide.
///
/// - Returns: the bytes written, or -1 with `errno` set.
@unsafe package func writeBytes(_ descriptor: Int32, _ start: UnsafeRawPointer?, _ count: Int) -> Int {
    unsafe write(descriptor, start, count)
}
