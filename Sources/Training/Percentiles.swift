import Foundation

/// The 15th, 50th and 85th percentiles of a set of numbers: what figure 1 of Ioffe and Szegedy 2015 shows.
public struct Percentiles: Sendable, Equatable, Codable {
  /// 15 % of the numbers are below.
  public var low: Double
  /// The median.
  public var middle: Double
  /// 85 % of the numbers are below.
  public var high: Double

  /// Percentiles that are known.
  public init(low: Double, middle: Double, high: Double) {
    self.low = low
    self.middle = middle
    self.high = high
  }

  /// The percentiles of `values`, linear between neighbours in order (as NumPy has it); NaN where there are none.
  ///
  /// Cost: n·log n.
  public init(of values: [Double]) {
    let sorted = values.sorted()
    func percentile(_ share: Double) -> Double {
      guard !sorted.isEmpty else { return .nan }
      let place = share * Double(sorted.count - 1)
      let below = Int(place)
      let above = min(below + 1, sorted.count - 1)
      return sorted[below] + (place - Double(below)) * (sorted[above] - sorted[below])
    }
    self.init(low: percentile(0.15), middle: percentile(0.5), high: percentile(0.85))
  }

  /// Half the distance between the outer two: for a normal distribution 1.04 standard deviations.
  public var halfWidth: Double { (high - low) / 2 }
}
