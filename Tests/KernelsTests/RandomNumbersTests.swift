import Testing

@testable import RandomNumbers

@Suite struct RandomNumbersTests {
  /// The known answers that come with Random123, the authors' own library.
  @Test func philoxGivesKnownAnswers() {
    let zeros = Philox.block(key: (0, 0), counter: 0, stream: 0)
    let zerosAreRight = zeros == (0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8)
    #expect(zerosAreRight)
    let ones = Philox.block(key: (.max, .max), counter: .max, stream: .max)
    let onesAreRight = ones == (0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd)
    #expect(onesAreRight)
  }

  @Test func numbersFollowFromSeedStreamAndPosition() {
    func first(_ generator: Philox) -> [UInt64] {
      var generator = generator
      return (0..<9).map { _ in generator.next() }
    }
    let numbers = first(Philox(seed: 5, stream: 2))
    #expect(numbers == first(Philox(seed: 5, stream: 2)))
    #expect(numbers != first(Philox(seed: 6, stream: 2)))
    #expect(numbers != first(Philox(seed: 5, stream: 3)))
    #expect(numbers != first(Philox(seed: 5 + 1 << 32, stream: 2)))
    #expect(Set(numbers).count == numbers.count)
    // Two numbers to a block of the cipher, low words first.
    let block = Philox.block(key: (5, 0), counter: 1, stream: 2)
    #expect(numbers[2] == UInt64(block.0) | UInt64(block.1) << 32)
    #expect(numbers[3] == UInt64(block.2) | UInt64(block.3) << 32)
  }

  @Test func purposesAndIndicesHaveTheirOwnStreams() {
    var seen = Set<UInt64>()
    for index in 0..<1000 {
      var (shuffle, dropout) = (
        Philox(seed: 0, purpose: "shuffle", index: UInt64(index)),
        Philox(seed: 0, purpose: "dropout", index: UInt64(index))
      )
      seen.insert(shuffle.next())
      seen.insert(dropout.next())
    }
    #expect(seen.count == 2000)
  }

  /// Means of n draws lie within 5 standard errors: of x √(1/12n), of x² √(4/45n).
  @Test func uniformMoments() {
    var random = Philox(seed: 8)
    let n = 1_000_000
    var (sum, squares, low, high) = (0.0, 0.0, 1.0, 0.0)
    for _ in 0..<n {
      let x = random.nextUniform()
      (sum, squares, low, high) = (sum + x, squares + x * x, min(low, x), max(high, x))
    }
    #expect(low >= 0 && high < 1 && low < 1e-4 && high > 1 - 1e-4)
    #expect(abs(sum / Double(n) - 0.5) < 5 * (1 / (12 * Double(n))).squareRoot())
    #expect(abs(squares / Double(n) - 1.0 / 3) < 5 * (4 / (45 * Double(n))).squareRoot())
  }

  /// The first four moments of N(0, 1) are 0, 1, 0, 3; the powers' variances 1, 2, 15, 96.
  @Test func normalMoments() {
    var random = Philox(seed: 9)
    let n = 1_000_000
    var sums = [0.0, 0.0, 0.0, 0.0]
    for _ in 0..<n {
      let x = random.nextNormal()
      var power = 1.0
      for i in 0..<4 {
        power *= x
        sums[i] += power
      }
    }
    for (i, (moment, variance)) in [(0.0, 1.0), (1, 2), (0, 15), (3, 96)].enumerated() {
      let error = abs(sums[i] / Double(n) - moment)
      #expect(error < 5 * (variance / Double(n)).squareRoot(), "moment \(i + 1)")
    }
  }

  /// Cut at ±2 the variance is 1 − 4·φ(2)/(2Φ(2) − 1) = 0.774; its estimate over n draws errs by less than 5·√(2/n).
  @Test func truncatedNormalStaysWithinTwo() {
    var random = Philox(seed: 10)
    let draws = (0..<200_000).map { _ in random.nextTruncatedNormal() }
    #expect(draws.allSatisfy { abs($0) <= 2 })
    let variance = draws.reduce(0) { $0 + $1 * $1 } / Double(draws.count)
    #expect(abs(variance - 0.773741) < 5 * (2 / Double(draws.count)).squareRoot())
  }

  @Test func permutationsHoldEveryNumberOnce() {
    for count in [0, 1, 2, 17, 1000] {
      var random = Philox(seed: 11, stream: UInt64(count))
      let order = random.nextPermutation(of: count)
      #expect(order.sorted() == (0..<count).map { Int32($0) })
      var again = Philox(seed: 11, stream: UInt64(count))
      #expect(order == again.nextPermutation(of: count))
    }
  }

  /// Each of the six orders of three things: a count's standard deviation over n draws is √(5n/36).
  @Test func ordersAreEquallyLikely() {
    var random = Philox(seed: 12)
    var counts: [[Int32]: Int] = [:]
    let n = 60_000
    for _ in 0..<n { counts[random.nextPermutation(of: 3), default: 0] += 1 }
    #expect(counts.count == 6)
    for (order, count) in counts {
      #expect(abs(Double(count - n / 6)) < 5 * (5 * Double(n) / 36).squareRoot(), "\(order)")
    }
  }

  @Test func integersStayBelowTheirBound() {
    var random = Philox(seed: 13)
    var seen = Set<Int>()
    for _ in 0..<1000 { seen.insert(random.nextInteger(below: 7)) }
    #expect(seen == Set(0..<7))
  }
}
