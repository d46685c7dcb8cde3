import Foundation

extension Philox {
  /// A number from the standard normal distribution (Box and Muller 1958; the second of the pair is not kept).
  public mutating func nextNormal() -> Double {
    let radius = (-2 * log(1 - nextUniform())).squareRoot()
    return radius * cos(2 * Double.pi * nextUniform())
  }

  /// A number from the standard normal distribution cut off at ±2, by rejection.
  public mutating func nextTruncatedNormal() -> Double {
    while true {
      let value = nextNormal()
      if abs(value) <= 2 { return value }
    }
  }

  /// A random permutation of 0 ..< count (Fisher and Yates; Durstenfeld 1964).
  public mutating func nextPermutation(of count: Int) -> [Int32] {
    var order = (0..<count).map { Int32($0) }
    shuffle(&order)
    return order
  }

  /// Shuffles `order` in place, every order equally likely.
  public mutating func shuffle(_ order: inout [Int32]) {
    // Local copies: the compiler keeps the generator's state in registers.
    var generator = self
    order.withUnsafeMutableBufferPointer { order in
      var last = order.count - 1
      while last > 0 {
        let other = generator.nextInteger(below: last + 1)
        let value = order[last]
        order[last] = order[other]
        order[other] = value
        last -= 1
      }
    }
    self = generator
  }
}
