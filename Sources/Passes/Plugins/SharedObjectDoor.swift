import CResQPass
import Formats
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The door to plugins that are shared objects: functions in this process, called through the table of `resq_pass.h`.
///
/// An object stays loaded until the process ends; its instances are ended when nobody can ask them for tensors any more.
// @unchecked: the table is constant and lives as long as the process; `plan` and `apply` are promised to be callable from
// several threads; instances are made under a lock.
@safe final class SharedObjectDoor: PluginDoor, @unchecked Sendable {
    private let plugin: String
    private let table: UnsafePointer<resq_pass_table>
    private let instances = Mutex<[String: Instance]>([:])

    /// One pass with its options, which ends with the door.
    // @unchecked: an address that is handed back to the plugin and never looked at.
    @safe private final class Instance: @unchecked Sendable {
        let address: UnsafeMutableRawPointer?
        private let table: UnsafePointer<resq_pass_table>

        /// - Parameter table: the one that made the instance.
        init(_ address: UnsafeMutableRawPointer?, of table: UnsafePointer<resq_pass_table>) {
            unsafe self.address = unsafe address
            unsafe self.table = unsafe table
        }

        // No call is going on: whoever calls holds the door.
        deinit { unsafe table.pointee.destroy(address) }
    }

    /// - Parameters:
    ///   - path: as the user named it.
    ///   - file: the absolute path.
    init(path: String, file: String) throws {
        plugin = path
        // The path is copied for the call.
        guard let handle = unsafe dlopen(file, RTLD_NOW | RTLD_LOCAL) else {
            let why = unsafe dlerror().map { unsafe String(cString: $0) } ?? "no reason is given"
            throw PluginError(plugin: path, what: "cannot be loaded: \(why)")
        }
        guard let symbol = unsafe dlsym(handle, "resq_pass_entry") else {
            throw PluginError(plugin: path, what: "exports no function 'resq_pass_entry'")
        }
        typealias Entry = @convention(c) () -> UnsafePointer<resq_pass_table>?
        // The header says of which type the function of that name is.
        let entry = unsafe unsafeBitCast(symbol, to: Entry.self)
        guard let table = unsafe entry() else { throw PluginError(plugin: path, what: "'resq_pass_entry' returned no table") }
        let (abi, size) = unsafe (table.pointee.abi, Int(table.pointee.struct_size))
        guard abi == UInt32(RESQ_PASS_ABI), size >= MemoryLayout<resq_pass_table>.size else {
            throw PluginError(
                plugin: path, what: "has a table of version \(abi) and \(size) bytes, expected version \(RESQ_PASS_ABI) and "
                    + "at least \(MemoryLayout<resq_pass_table>.size); compile it with this version's include/resq_pass.h")
        }
        let functions = unsafe [
            ("describe", table.pointee.describe != nil), ("create", table.pointee.create != nil), ("plan", table.pointee.plan != nil),
            ("apply", table.pointee.apply != nil), ("destroy", table.pointee.destroy != nil),
        ]
        let missing = functions.filter { !$0.1 }.map { "'\($0.0)'" }
        guard missing.isEmpty else { throw PluginError(plugin: path, what: "has a table without \(missing.joined(separator: ", "))") }
        unsafe self.table = unsafe table
    }

    func describe() throws -> JSONValue {
        return try unsafe emitted("describe", pass: nil, "the description") { emit, context, error in
            unsafe table.pointee.describe(emit, context, error, Complaint.capacity)
        }
    }

    func plan(_ question: JSONObject, pass: String) throws -> JSONValue {
        let instance = try instance(of: question, pass: pass)
        let model = (question["model"] ?? .object([:])).text()
        let tensors = unsafe TensorTable(question["tensors"], memory: [])
        return try unsafe emitted("plan", pass: pass, "the plan") { emit, context, error in
            unsafe tensors.withTensors { list, count in
                unsafe table.pointee.plan(instance.address, model, list, count, emit, context, error, Complaint.capacity)
            }
        }
    }

    func apply(
        _ question: JSONObject, pass: String, tensor: String, inputs: [TensorBytes], byteCounts: [Int]
    ) throws -> [TensorBytes] {
        let instance = try instance(of: question, pass: pass)
        let inputs = inputs.map(aligned)
        let sink = Sink(outputs: byteCounts, inputs: inputs)
        let given = unsafe TensorTable(question["inputs"], memory: inputs.map { unsafe address(of: $0) })
        let wanted = unsafe TensorTable(question["outputs"], memory: sink.rooms)
        try unsafe call("apply", pass: pass, tensor: tensor, refusal: { sink.refusal }) { error in
            unsafe given.withTensors { inputs, inputCount in
                unsafe wanted.withTensors { outputs, outputCount in
                    unsafe table.pointee.apply(
                        instance.address, inputs, inputCount, outputs, outputCount, takeBytes, sink.context, error, Complaint.capacity)
                }
            }
        }
        for (place, found) in sink.counts.enumerated() where found != byteCounts[place] {
            throw PluginError(
                plugin: plugin, pass: pass, tensor: question["outputs"]?.array?[place]["name"]?.string ?? tensor,
                what: "answered with \(found) bytes of data where \(byteCounts[place]) were planned")
        }
        return sink.parts
    }

    private func instance(of question: JSONObject, pass: String) throws -> Instance {
        let name = question["pass"]?.string ?? ""
        let options = (question["options"] ?? .object([:])).text()
        return try instances.withLock { instances in
            if let made = instances[name + " " + options] { return made }
            var address: UnsafeMutableRawPointer?
            try unsafe call("create", pass: pass, tensor: nil) { error in
                unsafe table.pointee.create(name, options, &address, error, Complaint.capacity)
            }
            let instance = unsafe Instance(address, of: table)
            instances[name + " " + options] = instance
            return instance
        }
    }

    /// Text that a function emits, read as JSON.
    private func emitted(
        _ function: String, pass: String?, _ what: String, _ body: (resq_emit, UnsafeMutableRawPointer, UnsafeMutablePointer<CChar>) -> Int32
    ) throws -> JSONValue {
        let text = TextSink()
        try unsafe call(function, pass: pass, tensor: nil, refusal: { text.refusal }) { error in unsafe body(takeText, text.context, error) }
        guard !text.bytes.isEmpty else { throw PluginError(plugin: plugin, pass: pass, what: "'\(function)' emitted nothing") }
        do {
            return try JSONValue(parsing: text.bytes)
        } catch {
            throw PluginError(plugin: plugin, pass: pass, what: "\(what) is not JSON: \(error.description)")
        }
    }

    /// Calls a function and turns its complaint into an error.
    /// - Parameter refusal: why something that it emitted was not taken.
    private func call(
        _ function: String, pass: String?, tensor: String?, refusal: () -> String? = { nil },
        _ body: (UnsafeMutablePointer<CChar>) throws -> Int32
    ) throws {
        ExitGuard.enter(PluginError(plugin: plugin, pass: pass, tensor: tensor, what: "ended the program in '\(function)'"))
        defer { ExitGuard.leave() }
        var complaint = [CChar](repeating: 0, count: Int(Complaint.capacity))
        // The array is as long as the function is told.
        let status = try unsafe complaint.withUnsafeMutableBufferPointer { buffer in try unsafe body(buffer.baseAddress!) }
        guard status != 0 || refusal() != nil else { return }
        complaint[complaint.count - 1] = 0
        let text = String(decoding: complaint.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let reason = refusal() ?? "'\(function)' returned \(status) and gave no reason"
        let what = text.isEmpty || status == 0 ? reason : refusal().map { "\(text) (\($0))" } ?? text
        throw PluginError(plugin: plugin, pass: pass, tensor: tensor, what: what)
    }
}

private enum Complaint {
    /// Bytes there are for the sentence of a failed call.
    static let capacity: UInt64 = 1024
}

/// Memory for the bytes of a tensor, aligned for whatever a plugin computes with.
// @unchecked: written only by whoever made it and, while its call goes on, by the plugin.
@safe private final class Room: ByteStorage, @unchecked Sendable {
    let memory: UnsafeMutableRawPointer
    let byteCount: Int
    var baseAddress: UnsafeRawPointer? { unsafe UnsafeRawPointer(memory) }

    init(byteCount: Int) {
        self.byteCount = byteCount
        unsafe memory = .allocate(byteCount: max(1, byteCount), alignment: 64)
    }

    deinit { unsafe memory.deallocate() }
}

/// The bytes where the header promises them to be: at a multiple of 16. Files put tensors anywhere.
private func aligned(_ bytes: TensorBytes) -> TensorBytes {
    guard let start = unsafe address(of: bytes), UInt(bitPattern: start) % 16 != 0 else { return bytes }
    let room = Room(byteCount: bytes.count)
    // Both are this long, and `bytes` lives through the call.
    withExtendedLifetime(bytes) { unsafe room.memory.copyMemory(from: start, byteCount: bytes.count) }
    return TensorBytes(room)
}

/// Text that a plugin emits during one call.
private final class TextSink {
    /// A description or a plan of more is no honest one.
    private static let maximumByteCount = PluginConversation.maximumJSONByteCount
    private(set) var bytes: [UInt8] = []
    /// Why something was not taken.
    private(set) var refusal: String?

    /// - Returns: whether it was taken.
    @unsafe func take(_ output: UInt32, _ data: UnsafeRawPointer?, _ count: UInt64) -> Bool {
        if output != 0 {
            refusal = "emitted to output \(output); texts are output 0"
        } else if count > UInt64(Self.maximumByteCount - bytes.count) {
            refusal = "emitted more than \(Self.maximumByteCount) bytes of text"
        } else if count > 0, unsafe data == nil {
            refusal = "emitted \(count) bytes at NULL"
        }
        guard refusal == nil else { return false }
        // The plugin promises so many bytes at that address during the call.
        unsafe bytes.append(contentsOf: UnsafeRawBufferPointer(start: data, count: Int(count)))
        return true
    }

    /// Valid while the sink is.
    var context: UnsafeMutableRawPointer { unsafe Unmanaged.passUnretained(self).toOpaque() }
}

/// The callback of `resq_pass.h` for texts.
private let takeText: resq_emit = { context, output, data, count in
    guard let context = unsafe context else { return 1 }
    // The context is that of the sink of the call that is going on.
    let sink = unsafe Unmanaged<TextSink>.fromOpaque(context).takeUnretainedValue()
    return unsafe sink.take(output, data, count) ? 0 : 1
}

/// The outputs of one call of `apply`.
private final class Sink {
    private let inputs: [TensorBytes]
    private let outputs: [Room]
    /// The bytes of each output, once all have come.
    private(set) var parts: [TensorBytes]
    /// Bytes that came for each output.
    private(set) var counts: [Int]
    /// Why something was not taken.
    private(set) var refusal: String?

    init(outputs byteCounts: [Int], inputs: [TensorBytes]) {
        self.inputs = inputs
        outputs = byteCounts.map { Room(byteCount: $0) }
        parts = outputs.map { TensorBytes($0) }
        counts = byteCounts.map { _ in 0 }
    }

    /// Where each output may be written.
    var rooms: [UnsafeRawPointer?] { unsafe outputs.map { unsafe $0.baseAddress } }

    /// - Returns: whether it was taken.
    @unsafe func take(_ place: Int, _ data: UnsafeRawPointer?, _ count: UInt64) -> Bool {
        guard refusal == nil else { return false }
        guard outputs.indices.contains(place) else {
            refusal = "emitted to output \(place), there \(outputs.count == 1 ? "is one output, which is 0" : "are \(outputs.count), from 0")"
            return false
        }
        let room = outputs[place]
        guard count <= UInt64(room.byteCount - counts[place]) else {
            let (total, isTooMany) = UInt64(counts[place]).addingReportingOverflow(count)
            refusal = "emitted \(isTooMany ? .max : total) bytes where \(room.byteCount) were planned"
            return false
        }
        guard count > 0 else { return true }
        guard let data = unsafe data else {
            refusal = "emitted \(count) bytes at NULL"
            return false
        }
        defer { counts[place] += Int(count) }
        if Int(count) == room.byteCount, let same = unsafe input(holding: data, Int(count)) {
            // Inputs do not change while somebody holds them, so that there is nothing to copy.
            parts[place] = same
            return true
        }
        let target = unsafe room.memory + counts[place]
        // The plugin promises so many bytes at that address during the call; they may be in the room already.
        if unsafe data != UnsafeRawPointer(target) { unsafe memmove(target, data, Int(count)) }
        return true
    }

    /// The part of an input that an address is in.
    @unsafe private func input(holding data: UnsafeRawPointer, _ count: Int) -> TensorBytes? {
        for input in inputs {
            guard let start = unsafe address(of: input), unsafe data >= start else { continue }
            let offset = unsafe data - start
            if offset <= input.count - count { return input[offset..<offset + count] }
        }
        return nil
    }

    /// Valid while the sink is.
    var context: UnsafeMutableRawPointer { unsafe Unmanaged.passUnretained(self).toOpaque() }
}

/// The callback of `resq_pass.h` for bytes of tensors.
private let takeBytes: resq_emit = { context, output, data, count in
    guard let context = unsafe context else { return 1 }
    // The context is that of the sink of the call that is going on.
    let sink = unsafe Unmanaged<Sink>.fromOpaque(context).takeUnretainedValue()
    return unsafe sink.take(Int(output), data, count) ? 0 : 1
}

/// Tensors as `resq_pass.h` has them, in memory of their own.
@safe private final class TensorTable {
    private let tensors: UnsafeMutableBufferPointer<resq_tensor>

    /// - Parameters:
    ///   - described: an array in the words of the protocol.
    ///   - memory: where the bytes of each are or may be put, which whoever calls keeps alive; or nothing.
    @unsafe init(_ described: JSONValue?, memory: [UnsafeRawPointer?]) {
        let list = described?.array ?? []
        unsafe tensors = .allocate(capacity: list.count)
        for (place, tensor) in list.enumerated() {
            let shape = (tensor["shape"]?.array ?? []).map { Int64($0.integer ?? 0) }
            // Everything that is allocated here is freed in `deinit`.
            let dimensions = UnsafeMutableBufferPointer<Int64>.allocate(capacity: max(1, shape.count))
            _ = unsafe dimensions.initialize(from: shape)
            let bytes = unsafe memory.indices.contains(place) ? memory[place] : nil
            unsafe tensors.initializeElement(
                at: place,
                to: resq_tensor(
                    struct_size: UInt32(MemoryLayout<resq_tensor>.size), rank: UInt32(shape.count),
                    name: copied(tensor["name"]?.string ?? ""), dtype: copied(tensor["dtype"]?.string ?? ""),
                    role: tensor["role"]?.string.flatMap { unsafe copied($0) }, layer: Int64(tensor["layer"]?.integer ?? -1),
                    shape: UnsafePointer(dimensions.baseAddress), byte_count: UInt64(tensor["bytes"]?.integer ?? 0), data: bytes,
                    rounded_to: tensor["rounded-to"]?.string.flatMap { unsafe copied($0) }))
        }
    }

    deinit {
        for place in unsafe tensors.indices {
            let tensor = unsafe tensors[place]
            unsafe free(UnsafeMutableRawPointer(mutating: tensor.name))
            unsafe free(UnsafeMutableRawPointer(mutating: tensor.dtype))
            unsafe free(UnsafeMutableRawPointer(mutating: tensor.role))
            unsafe free(UnsafeMutableRawPointer(mutating: tensor.rounded_to))
            unsafe tensor.shape?.deallocate()
        }
        unsafe tensors.deallocate()
    }

    /// Hands the tensors over for the time of a call.
    @unsafe func withTensors(_ body: (UnsafePointer<resq_tensor>?, UInt32) -> Int32) -> Int32 {
        withExtendedLifetime(self) { unsafe body(UnsafePointer(tensors.baseAddress), UInt32(tensors.count)) }
    }
}

/// The text as C has it; whoever asks frees it. Names with a zero inside are cut there.
@unsafe private func copied(_ text: String) -> UnsafePointer<CChar>? { unsafe UnsafePointer(strdup(text)) }

/// Where bytes stand in memory, as long as somebody holds them.
@unsafe private func address(of bytes: TensorBytes) -> UnsafeRawPointer? {
    let span = bytes.bytes
    return unsafe span.withUnsafeBytes { $0.baseAddress }
}
