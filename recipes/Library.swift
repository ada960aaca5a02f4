/// The recipes that come with the project, by the name under which they are run or imported.
package let library: [String: [UInt8]] = [
    "bf16-lossless": PackageResources.bf16_lossless_yaml,
    "f16": PackageResources.f16_yaml,
    "iq4_nl": PackageResources.iq4_nl_yaml,
    "iq4_xs": PackageResources.iq4_xs_yaml,
    "q2_k": PackageResources.q2_k_yaml,
    "q3_k_m": PackageResources.q3_k_m_yaml,
    "q4_0": PackageResources.q4_0_yaml,
    "q4_k_m": PackageResources.q4_k_m_yaml,
    "q4_k_s": PackageResources.q4_k_s_yaml,
    "q5_k_m": PackageResources.q5_k_m_yaml,
    "q5_k_s": PackageResources.q5_k_s_yaml,
    "q6_k": PackageResources.q6_k_yaml,
    "q8_0": PackageResources.q8_0_yaml,
    "std/compressed": PackageResources.compressed_yaml,
]
