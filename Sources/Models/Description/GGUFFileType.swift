/// What `general.file_type` says most of a file's weights are; the numbers are llama.cpp's.
public enum GGUFFileType: UInt32, Sendable, Hashable, CaseIterable {
    case f32 = 0, f16 = 1, q4_0 = 2, q4_1 = 3, q8_0 = 7, q5_0 = 8, q5_1 = 9
    case q2_K = 10, q3_K_S = 11, q3_K_M = 12, q3_K_L = 13, q4_K_S = 14, q4_K_M = 15, q5_K_S = 16, q5_K_M = 17, q6_K = 18
    case iq2_XXS = 19, iq2_XS = 20, q2_K_S = 21, iq3_XS = 22, iq3_XXS = 23, iq1_S = 24, iq4_NL = 25, iq3_S = 26
    case iq3_M = 27, iq2_S = 28, iq2_M = 29, iq4_XS = 30, iq1_M = 31, bf16 = 32, tq1_0 = 36, tq2_0 = 37
    case mxfp4 = 38, nvfp4 = 39, q1_0 = 40, q2_0 = 41

    /// Finds a file type by its name, ignoring case: `q4_k_m`.
    public init?(name: String) {
        guard let found = Self.allCases.first(where: { "\($0)".uppercased() == name.uppercased() }) else { return nil }
        self = found
    }
}
