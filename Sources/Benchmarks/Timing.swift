import Foundation

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

  /// Runs `work` for about `seconds`, after one run that warms it up; work of more than half a second runs but once.
  init(seconds: Double, _ work: () -> Void) {
    self.init(seconds: seconds) { (times: Int) in for _ in 0..<times { work() } }
  }

  /// The same for work that is told how often to do it.
  init(seconds: Double, _ work: (_ times: Int) -> Void) {
    var repetition = Repetition(work)
    while repetition.wantsMore(seconds: seconds) { repetition.measure(work) }
    microseconds = repetition.times.sorted()
  }

  /// Runs two pieces of work in turn, `seconds` each: what drifts on the machine meets both.
  ///
  /// Each is told how often to do its work: what comes with the first time alone is paid once. A turn takes half a
  /// millisecond, or as long as `turn` says.
  static func alternating(
    seconds: Double, turn: Double = 5e-4, _ first: (Int) -> Void, _ second: (Int) -> Void
  ) -> (first: Timing, second: Timing) {
    var (one, two) = (Repetition(first), Repetition(second))
    while one.wantsMore(seconds: seconds) || two.wantsMore(seconds: seconds) {
      // A run that is not measured brings the data of each back into the caches.
      if !one.isSlow { first(1) }
      one.measure(first, forSeconds: turn)
      if !two.isSlow { second(1) }
      two.measure(second, forSeconds: turn)
    }
    return (Timing(one.times), Timing(two.times))
  }

  /// The same for work that is simply repeated.
  static func alternating(
    seconds: Double, turn: Double = 5e-4, _ first: () -> Void, _ second: () -> Void
  ) -> (first: Timing, second: Timing) {
    alternating(
      seconds: seconds, turn: turn, { (times: Int) in for _ in 0..<times { first() } },
      { (times: Int) in for _ in 0..<times { second() } })
  }

  /// Times measured elsewhere.
  init(_ microseconds: [Double]) { self.microseconds = microseconds.sorted() }

  private func quantile(_ share: Double) -> Double {
    guard !microseconds.isEmpty else { return .nan }
    return microseconds[Int((Double(microseconds.count - 1) * share).rounded())]
  }

  /// Microseconds that `work` takes.
  static func time(_ work: () throws -> Void) rethrows -> Double {
    let started = ContinuousClock.now
    try work()
    let (seconds, attoseconds) = (ContinuousClock.now - started).components
    return Double(seconds) * 1e6 + Double(attoseconds) * 1e-12
  }
}

/// The times of one piece of work as they come in.
private struct Repetition {
  private(set) var times: [Double] = []
  private var spent = 0.0
  /// Short work is repeated within a measurement so that each takes at least 20 µs, a hundred times the clock's cost.
  private var inner = 1
  /// Whether one run, the first, has to do.
  private(set) var isSlow = false

  init(_ work: (Int) -> Void) {
    let first = Timing.time { work(1) }
    if first > 0.5e6 {
      isSlow = true
      times = [first]
      return
    }
    inner = max(1, Int((20 / max(min(first, Timing.time { work(1) }), 0.01)).rounded(.up)))
  }

  func wantsMore(seconds: Double) -> Bool {
    if isSlow || times.count >= 100_000 { return false }
    // Five runs of slow work may take far longer than asked; two then have to do.
    if times.count >= 2, spent > 4e6 * seconds { return false }
    return times.count < 5 || spent < seconds * 1e6
  }

  mutating func measure(_ work: (Int) -> Void) {
    let time = Timing.time { work(inner) }
    spent += time
    times.append(time / Double(inner))
  }

  /// Measures until about `seconds` have passed.
  mutating func measure(_ work: (Int) -> Void, forSeconds seconds: Double) {
    if isSlow { return }
    let end = spent + seconds * 1e6
    repeat { measure(work) } while spent < end
  }
}
