/// A counter-based random generator, Philox4x32-10.
///
/// Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
///
/// The numbers of a stream are a pure function of (seed, stream, position): one seed can feed initial weights,
/// shuffling, dropout and augmentation through streams that never meet, on any number of threads.
public struct Philox: RandomNumberGenerator, Sendable {
  private let key: (UInt32, UInt32)
  private let stream: UInt64
  private var block: UInt64 = 0
  private var words: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
  private var remaining = 0

  /// The generator of `seed` and `stream`, at its first number.
  public init(seed: UInt64, stream: UInt64 = 0) {
    key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    self.stream = stream
  }

  /// The stream for a purpose and an index within it, such as ("shuffle", epoch).
  public init(seed: UInt64, purpose: StaticString, index: UInt64 = 0) {
    // FNV-1a over the name, then the index stirred in: streams differ for any two purposes or indices in use.
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    purpose.withUTF8Buffer { for byte in $0 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 } }
    self.init(seed: seed, stream: hash &+ index &* 0x9e37_79b9_7f4a_7c15)
  }

  /// The next 64 random bits.
  public mutating func next() -> UInt64 {
    if remaining == 0 {
      words = Philox.block(key: key, counter: block, stream: stream)
      block &+= 1
      remaining = 2
    }
    remaining -= 1
    return remaining == 1
      ? UInt64(words.0) | UInt64(words.1) << 32
      : UInt64(words.2) | UInt64(words.3) << 32
  }

  /// A number uniform in [0, 1), on the grid of 2⁻⁵³.
  public mutating func nextUniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// A whole number uniform in 0 ..< `bound`, without bias.
  ///
  /// Lemire 2019, "Fast random integer generation in an interval", algorithm 5.
  /// - Precondition: 0 < bound ≤ 2³².
  public mutating func nextInteger(below bound: Int) -> Int {
    precondition(bound > 0 && bound <= 1 << 32, "\(bound) is no bound for a 32-bit number")
    let bound = UInt64(bound)
    var product = (next() >> 32) &* bound
    if product & 0xffff_ffff < bound {
      let threshold = (1 << 32) % bound
      while product & 0xffff_ffff < threshold { product = (next() >> 32) &* bound }
    }
    return Int(truncatingIfNeeded: product >> 32)
  }

  static func block(
    key: (UInt32, UInt32), counter: UInt64, stream: UInt64
  ) -> (UInt32, UInt32, UInt32, UInt32) {
    var (k0, k1) = key
    var x0 = UInt32(truncatingIfNeeded: counter)
    var x1 = UInt32(truncatingIfNeeded: counter >> 32)
    var x2 = UInt32(truncatingIfNeeded: stream)
    var x3 = UInt32(truncatingIfNeeded: stream >> 32)
    for _ in 0..<10 {
      let first = UInt64(x0) &* 0xd251_1f53
      let second = UInt64(x2) &* 0xcd9e_8d57
      (x0, x1, x2, x3) = (
        UInt32(truncatingIfNeeded: second >> 32) ^ x1 ^ k0, UInt32(truncatingIfNeeded: second),
        UInt32(truncatingIfNeeded: first >> 32) ^ x3 ^ k1, UInt32(truncatingIfNeeded: first)
      )
      k0 &+= 0x9e37_79b9
      k1 &+= 0xbb67_ae85
    }
    return (x0, x1, x2, x3)
  }
}
