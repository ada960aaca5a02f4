import Formats
import Testing

/// Files of the safetensors library, remade by `scripts/fixtures/make-safetensors`.
@Suite struct SafetensorsReferenceTests {
    /// What the script puts into its tensor of that number.
    private func data(_ number: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: 7 * number + $0) } }

    @Test func readsEveryDTypeTheLibraryWrites() throws {
        let file = try SafetensorsFile(path: fixturePath("every-dtype.safetensors"))
        let dtypes: [DType] = [
            .bool, .u8, .i8, .f8e5m2, .f8e4m3, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz, .f4, .i16, .u16, .f16, .bf16, .i32, .u32, .f32, .c64, .f64,
            .i64, .u64,
        ]
        let spellings = [
            "bool", "uint8", "int8", "float8_e5m2", "float8_e4m3fn", "float8_e8m0fnu", "float8_e4m3fnuz", "float8_e5m2fnuz", "float4_e2m1fn_x2",
            "int16", "uint16", "float16", "bfloat16", "int32", "uint32", "float32", "complex64", "float64", "int64", "uint64",
        ]
        // The library counts two F4 elements per byte.
        var expected = try zip(spellings, dtypes).map { spelling, dtype in
            try TensorInfo(name: "t.\(spelling)", encoding: .plain(dtype), shape: [3, dtype == .f4 ? 4 : 2])
        }
        expected += try [
            TensorInfo(name: "scalar", encoding: .plain(.f32), shape: []), TensorInfo(name: "empty", encoding: .plain(.f16), shape: [4, 0, 2]),
            TensorInfo(name: "名前.😀", encoding: .plain(.u8), shape: [1]),
        ]
        #expect(Set(file.manifest.tensors) == Set(expected))
        #expect(file.metadata == ["format": "pt"])
        for (number, info) in expected.enumerated() {
            let place = try #require(file.manifest.tensors.firstIndex(of: info))
            #expect(try file.bytes(ofTensorAt: place).array == data(number, info.byteCount), "\(info.name)")
        }
    }

    @Test func writesTheLibrarysBytes() throws {
        let tensors = try (0..<5).map { try TensorInfo(name: "layer.\($0).weight", encoding: .plain(.bf16), shape: [$0, 3]) }
        let layout = try Safetensors.layout(tensors: tensors, metadata: ["format": "pt"])
        let expected = try MappedFile(path: fixturePath("one-dtype.safetensors")).bytes.array
        #expect(layout.files[0].rendered { data($0, tensors[$0].byteCount) } == expected)
    }
}
