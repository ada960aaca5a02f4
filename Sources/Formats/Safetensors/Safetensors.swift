/// The safetensors container.
///
/// | offset | size | meaning |
/// |---|---|---|
/// | 0 | 8 | header byte count N, unsigned, little-endian, at most 100,000,000 |
/// | 8 | N | header: a JSON object, starts with `{`, may be padded with blanks at its end |
/// | 8 + N | rest | tensor data |
///
/// The header maps each tensor's name to `{"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}`, offsets counted
/// from the start of the data. Together the tensors cover the data without a gap and without sharing a byte.
/// `__metadata__`, if there, maps strings to strings. Numbers are little-endian, tensors row-major.
///
/// Reference: the format section of the safetensors README. Other members of a tensor's entry are ignored, as there.
public enum Safetensors {
    /// The most bytes a header may have.
    public static let maximumHeaderByteCount = 100_000_000
    /// The header's key that is not a tensor.
    static let metadataKey = "__metadata__"
    /// Data starts at a multiple of this many bytes in files written here.
    static let dataAlignment = 8
}
