/// Whether calls of one size are shared by columns: found out by trying, again and again.
///
/// What sharing takes depends on what the program does beside: whether calls follow each other so closely that the team is
/// still awake, and whether its processors are free. So some calls are timed either way, and those that follow are
/// computed in the way that took less time, until that changes. Where sharing does not pay, it is tried ever less often.
///
/// The time without sharing is that of calls that nothing disturbs, with sharing all that passes: programs that take each
/// other's processors by turns would otherwise find that sharing is faster than waiting for the others to share.
struct SharingChoice {
  private enum Phase {
    case plain
    case waking
    case trial
    case shared
  }

  /// Calls that are timed before the first trial, and where the time without sharing is to be renewed.
  static let firstCalls = 16
  /// Calls of a trial that are timed, after so many or so long that the team is awake and has its weights at hand, ns.
  static let timedCalls = 32
  static let wakingCalls = 1_024
  static let waking = 5_000_000.0
  /// What a trial may cost beside twice the time of its calls without sharing, ns.
  static let allowance = 1_000_000.0
  /// Calls that are shared, or their time, ns, before it is looked whether they still take less; and calls before the time
  /// without sharing is renewed.
  static let windowCalls = 512
  static let windowTime = 10_000_000.0
  static let sharedCalls = 4_096
  /// Calls without sharing after a trial that failed, at first and at most.
  static let leastPause = 256
  static let mostPause = 65_536
  /// How long the members of a team stay awake, ns, and how long a call takes for which waking them pays.
  static let awake: UInt64 = 50_000
  static let worthWaking = 300_000.0

  private var phase = Phase.plain
  /// Calls left of the phase, at most.
  private var left = firstCalls
  private var pause = leastPause
  /// Time of an undisturbed call without sharing, ns; 0 where unknown.
  private var plain = 0.0
  /// Calls of the phase that were shared, and their time, ns; of the last window where all are.
  private var tried = 0
  private var spent = 0.0
  /// When the last call ended, ns.
  private var lastEnd: UInt64 = 0

  /// Whether a call that begins at `now`, ns, is to be shared; then `record` is to be told how long it took.
  mutating func shares(at now: UInt64) -> Bool {
    if phase == .plain {
      if left > 0 { return false }
      begin(.waking, Self.wakingCalls)
    }
    return plain > Self.worthWaking || now < lastEnd + Self.awake
  }

  /// Whether a trial has begun that is not timed yet.
  var isWaking: Bool { phase == .waking }

  /// Takes note of a call.
  mutating func record(shared isShared: Bool, from start: UInt64, to end: UInt64) {
    lastEnd = end
    let time = Double(end - min(start, end))
    guard isShared else {
      // Follows short times at once, long ones slowly.
      plain += plain == 0 ? time : time < plain ? (time - plain) / 2 : (min(time, 2 * plain) - plain) / 16
      if phase == .plain, left > 0 { left -= 1 }
      return
    }
    tried += 1
    spent += time
    left -= 1
    switch phase {
    case .plain: break
    case .waking:
      if spent > 2 * Double(tried) * plain + Self.allowance { return giveUp() }
      if left == 0 || spent > Self.waking { begin(.trial, Self.timedCalls) }
    case .trial:
      if spent > 2 * Double(Self.timedCalls) * plain { return giveUp() }
      if left > 0 { break }
      if spent < 0.95 * Double(Self.timedCalls) * plain { begin(.shared, Self.sharedCalls) } else { giveUp() }
    case .shared:
      guard tried == Self.windowCalls || spent > Self.windowTime else { break }
      if spent > Double(tried) * plain { return giveUp() }
      (tried, spent) = (0, 0)
      pause = max(pause / 2, Self.leastPause)
      if left <= 0 { begin(.plain, Self.firstCalls) }
    }
  }

  private mutating func begin(_ phase: Phase, _ calls: Int) {
    (self.phase, left, tried, spent) = (phase, calls, 0, 0)
  }

  private mutating func giveUp() {
    begin(.plain, pause)
    pause = min(2 * pause, Self.mostPause)
  }
}
