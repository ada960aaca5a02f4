import Formats
import Models

// Tensors of custom types in GGUF, which has no types for them: I8 tensors of the bytes of their rows, and for each of them
//
//     resq.types.names          [string; n]    the tensors
//     resq.types.types          [string; n]    the type of each
//     resq.types.columns        [u32; n]       elements of a row

enum CustomTensors {
    /// Writes which tensors are of custom types.
    static func describe(_ tensors: [LazyTensor], in metadata: inout GGUFMetadata) {
        var (names, types, columns) = ([String](), [String](), [UInt32]())
        for tensor in tensors {
            guard case .custom(let type) = tensor.info.encoding else { continue }
            names.append(tensor.info.name)
            types.append(type.name)
            columns.append(UInt32(clamping: tensor.info.columnCount))
        }
        guard !names.isEmpty else { return }
        metadata["resq.types.names"] = .array(GGUFArray(strings: names))
        metadata["resq.types.types"] = .array(GGUFArray(strings: types))
        metadata["resq.types.columns"] = .array(GGUFArray(columns))
    }

    /// Turns tensors that a file says are of custom types into what they are.
    /// - Throws: `ModelError` for a type that nobody brought, and for keys that contradict each other or the tensors.
    static func read(_ tensors: inout [LazyTensor], from metadata: GGUFMetadata, types: TypeTable, path: String?) throws(ModelError) {
        guard let value = metadata["resq.types.names"] else { return }
        func invalid(_ key: String, _ found: String, _ expected: String) -> ModelError {
            ModelError(.invalidKey(key: "resq.types.\(key)", found: found, expected: expected), path: path)
        }
        func array(_ key: String, _ type: GGUFValueType, count: Int) throws(ModelError) -> GGUFArray {
            guard let array = metadata["resq.types.\(key)"]?.array, array.elementType == type, array.count == count else {
                throw invalid(key, "something else", "an array of \(count) \(type)")
            }
            return array
        }
        guard let list = value.array, list.elementType == .string, list.count <= tensors.count else {
            throw invalid("names", "a \(value.type)", "an array of names of tensors, each once")
        }
        let names = list.values().compactMap(\.string)
        let typeNames = try array("types", .string, count: names.count).values().compactMap(\.string)
        let columns = try array("columns", .u32, count: names.count).values().compactMap(\.integer)
        var places = Dictionary(tensors.enumerated().map { ($1.info.name, $0) }, uniquingKeysWith: { first, _ in first })
        for (index, name) in names.enumerated() {
            guard let place = places.removeValue(forKey: name) else { throw ModelError(.missingTensors(names: [name], count: 1), path: path) }
            guard case .custom(let type)? = types[typeNames[index]] else {
                throw invalid("types", "'\(typeNames[index])'", "a type that is known: give --plugin the plugin that brings it")
            }
            let info = tensors[place].info
            do throws(FormatError) {
                let whole = try TensorInfo(name: name, encoding: .custom(type), shape: info.shape.dropLast() + [columns[index]])
                guard info.encoding == .plain(.i8), info.shape.count > 1, whole.rowByteCount == info.columnCount else {
                    throw FormatError(.invalid(field: "tensor", found: "\(info.encoding.name) \(info.shape)", expected: "I8 rows of \(whole.rowByteCount ?? 0) bytes"))
                }
                tensors[place] = LazyTensor(info: whole, operation: SameBytes(input: tensors[place]), history: tensors[place].history)
            } catch {
                throw invalid("names", "'\(name)': \(error)", "a tensor of that type")
            }
        }
    }
}
