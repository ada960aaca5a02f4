// A pass in Swift as a shared object: multiplies weights by a factor.
//
//     swiftc -O -parse-as-library -emit-library -import-objc-header include/resq_pass.h Examples/swift-object/scale.swift -o scale.so
//     resq passes --plugin ./scale.so
//
// It is loaded through include/resq_pass.h as one in C would be, so it need not be built by the compiler that built resq.
import Foundation

private struct Options: Decodable { var factor: Float }

private struct Plan: Encodable {
    struct Tensor: Encodable { var name: String, dtype: String, shape: [Int64] }
    struct Step: Encodable { var inputs: [String], outputs: [Tensor], rows: Bool, decoded: Bool }
    var steps: [Step]
}

/// What `create` makes and `destroy` ends.
private final class Scale {
    let factor: Float
    init(factor: Float) { self.factor = factor }
}

private let description = """
    {"protocol": 1, "name": "swift-example", "version": "1.0", "passes": [{
     "name": "scale", "summary": "Multiplies every weight by a factor.", "options": [{
     "name": "factor", "type": "number", "default": 2.0, "summary": "What weights are multiplied by."}]}]}
    """

private typealias Emit = resq_emit
private typealias Text = UnsafeMutablePointer<CChar>

private func emit(_ text: String, _ emit: Emit?, _ context: UnsafeMutableRawPointer?) -> Int32 {
    var text = text
    return text.withUTF8 { emit?(context, 0, $0.baseAddress, UInt64($0.count)) ?? 1 }
}

/// Writes a sentence for the user, where there is room.
private func complain(_ sentence: String, _ error: Text?, _ capacity: UInt64) -> Int32 {
    if let error { _ = sentence.withCString { strncpy(error, $0, Int(capacity) - 1) } }
    return 1
}

private let table: UnsafePointer<resq_pass_table> = {
    let table = UnsafeMutablePointer<resq_pass_table>.allocate(capacity: 1)
    table.initialize(to: resq_pass_table())
    table.pointee.abi = UInt32(RESQ_PASS_ABI)
    table.pointee.struct_size = UInt32(MemoryLayout<resq_pass_table>.size)
    table.pointee.describe = { send, context, _, _ in emit(description, send, context) }
    table.pointee.create = { _, options, instance, error, capacity in
        // resq has checked the options: there is this one, and it is a number.
        guard let options, let read = try? JSONDecoder().decode(Options.self, from: Data(String(cString: options).utf8)) else {
            return complain("the options cannot be read", error, capacity)
        }
        instance?.pointee = Unmanaged.passRetained(Scale(factor: read.factor)).toOpaque()
        return 0
    }
    // One step for each tensor, row by row: the weights arrive as F32 and stay F32.
    table.pointee.plan = { _, _, tensors, count, send, context, error, capacity in
        let steps = (0..<count).compactMap { resq_tensor_at(tensors, $0)?.pointee }.map { tensor in
            let name = String(cString: tensor.name)
            let shape = Array(UnsafeBufferPointer(start: tensor.shape, count: Int(tensor.rank)))
            return Plan.Step(inputs: [name], outputs: [Plan.Tensor(name: name, dtype: "F32", shape: shape)], rows: true, decoded: true)
        }
        guard let json = try? JSONEncoder().encode(Plan(steps: steps)) else { return complain("the plan cannot be written", error, capacity) }
        return emit(String(decoding: json, as: UTF8.self), send, context)
    }
    table.pointee.apply = { instance, inputs, _, outputs, _, send, context, _, _ in
        guard let instance, let input = inputs?.pointee, let output = outputs?.pointee else { return 1 }
        let scale = Unmanaged<Scale>.fromOpaque(instance).takeUnretainedValue()
        let weights = UnsafeRawBufferPointer(start: input.data, count: Int(input.byte_count)).bindMemory(to: Float.self)
        // Where the host has room for the output.
        let scaled = UnsafeMutableRawPointer(mutating: output.data)!.bindMemory(to: Float.self, capacity: weights.count)
        for index in weights.indices { scaled[index] = weights[index] * scale.factor }
        return send?(context, 0, scaled, output.byte_count) ?? 1
    }
    table.pointee.destroy = { instance in
        if let instance { Unmanaged<Scale>.fromOpaque(instance).release() }
    }
    return UnsafePointer(table)
}()

@c(resq_pass_entry)
public func entry() -> UnsafePointer<resq_pass_table>? { table }
