import Testing

@testable import Training

/// The digest against the examples of FIPS 180-4 and its validation suite.
@Suite("SHA-256")
struct SHA256Tests {
  @Test("Published digests")
  func published() {
    for (message, expected) in [
      ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
      ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
      (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
      ),
      (
        "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"
      ),
    ] {
      #expect(digest(of: [Array(message.utf8)]) == expected, "\(message)")
    }
  }

  @Test("A million a's, in parts of any size")
  func million() {
    let expected = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    let part = [UInt8](repeating: 0x61, count: 1000)
    #expect(digest(of: [[UInt8]](repeating: part, count: 1000)) == expected)
  }

  @Test("How the message is cut does not matter")
  func parts() {
    let message = (0..<300).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let whole = digest(of: [message])
    for size in [1, 7, 55, 56, 63, 64, 65, 128, 299] {
      let parts = stride(from: 0, to: 300, by: size).map { Array(message[$0..<min($0 + size, 300)]) }
      #expect(digest(of: parts) == whole, "parts of \(size)")
    }
    // Every length around the padding's boundaries gives another digest.
    #expect(Set((0..<200).map { digest(of: [[UInt8](repeating: 0, count: $0)]) }).count == 200)
  }

  private func digest(of parts: [[UInt8]]) -> String {
    var digest = SHA256()
    for part in parts { digest.update(part) }
    return digest.finalize()
  }
}
