import Passes
import Testing

@Suite struct DigestTests {
    @Test func isTheSHA256OfTheStandard() {
        #expect(
            "\(Digest(of: "abc"))" == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }
}
