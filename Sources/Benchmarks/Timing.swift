/// Repeats a piece of work and keeps the time of each run.
struct Timing {
  /// Microseconds of each repetition, sorted.
  let microseconds: [Double]

  /// The middle one.
  var median: Double { quantile(0.5) }
  /// The shortest.
  var minimum: Double { microseconds.first ?? .nan }
  /// The 84th less the 16th percentile, halved: the standard deviation where times are normal.
  var spread: Double { (quantile(0.84) - quantile(0.16)) / 2 }

  /// Runs `work` for about `seconds`, after one run that warms it up.
  ///
  /// Short work is repeated within a measurement so that each takes at least 20 µs, a hundred times the clock's own cost.
  init(seconds: Double, _ work: () -> Void) {
    let first = Self.time(work)
    let once = min(first, Self.time(work))
    let inner = max(1, Int((20 / max(once, 0.01)).rounded(.up)))
    var times: [Double] = []
    var spent = 0.0
    while times.count < 5 || (spent < seconds * 1e6 && times.count < 100_000) {
      let time = Self.time { for _ in 0..<inner { work() } }
      spent += time
      times.append(time / Double(inner))
      // Five runs of slow work may take far longer than asked; two then have to do.
      if times.count >= 2, spent > 4e6 * seconds { break }
    }
    microseconds = times.sorted()
  }

  /// Times measured elsewhere.
  init(_ microseconds: [Double]) { self.microseconds = microseconds.sorted() }

  private func quantile(_ share: Double) -> Double {
    guard !microseconds.isEmpty else { return .nan }
    return microseconds[Int((Double(microseconds.count - 1) * share).rounded())]
  }

  private static func time(_ work: () -> Void) -> Double {
    let started = ContinuousClock.now
    work()
    let (seconds, attoseconds) = (ContinuousClock.now - started).components
    return Double(seconds) * 1e6 + Double(attoseconds) * 1e-12
  }
}
