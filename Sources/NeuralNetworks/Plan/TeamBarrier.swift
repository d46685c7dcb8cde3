import CPUFeatures
import Synchronization

/// Where the members of a team wait until all have arrived.
///
/// Each member counts its arrivals in a cache line of its own and reads those of the others: one write and one line
/// fetched per pair of members, and no operation that two of them compete for.
///
/// A waiting member spins, because the waits within a step are short, and gives its processor back where spinning
/// cannot help: at once where another member is on the same processor (more threads than processors; a second program),
/// else after 50 µs. It yields first, the cheapest way to let a member of its own go on. Yielding also lets other
/// programs pass, each for milliseconds, so where it took long the member sleeps until it is woken, for the next waits
/// as well: a sleeper keeps its claim to processor time. And it sleeps once in a while where yields go well: the system
/// leaves two threads that yield to each other on one processor for seconds, but wakes one on a processor that is idle.
struct TeamBarrier: @unchecked Sendable {
  private let size: Int
  private let memory: UnsafeMutableRawPointer

  /// Bytes of a member: a pair of cache lines that others read, and one of its own.
  private static let memberBytes = 256
  /// Where the member's own half begins.
  private static let ownOffset = 128
  /// How long a member spins before it sleeps.
  private static let spinNanoseconds: UInt64 = 50_000
  /// Tries before the others' processors are looked at, and between two looks at the clock.
  private static let firstRounds = 8
  private static let clockRounds = 32
  /// Arrivals between two of which a member tells what processor it is on.
  private static let processorInterval: UInt32 = 16
  /// Yields before a member sleeps, and the time from which on one counts as long.
  private static let yields = 2
  private static let longYield: UInt64 = 300_000
  /// Waits without a yield after a long one, at first and at most, and quick yields that halve them and end in a sleep.
  private static let leastPause = 64
  private static let mostPause = 32_768
  private static let quickYields = 256

  /// A member's record of how well yielding works; nobody else reads it.
  private struct YieldRecord {
    var pause = TeamBarrier.leastPause
    var left = 0
    var quick = 0
  }

  /// A barrier for `size` members; the owner calls `deallocate` when no member uses it any more.
  ///
  /// `arrivals` is where the count begins; it wraps after 2³¹.
  init(size: Int, arrivals first: UInt32 = 0) {
    self.size = size
    memory = .allocate(byteCount: size * Self.memberBytes, alignment: Self.ownOffset)
    for member in 0..<size {
      arrivals(of: member).initialize(to: Atomic(2 &* first))
      processor(of: member).initialize(to: Atomic(-1))
      record(of: member).initialize(to: YieldRecord())
    }
  }

  /// Frees the memory.
  func deallocate() {
    for member in 0..<size {
      arrivals(of: member).deinitialize(count: 1)
      processor(of: member).deinitialize(count: 1)
    }
    memory.deallocate()
  }

  /// Returns when every member has called it as often as `member` has; all that they wrote before is seen after it.
  @inline(__always)
  func wait(_ member: Int) { wait(member, until: arrive(member)) }

  /// The second half of `wait`, after `arrive` and work for which the others need not have arrived.
  @inline(__always)
  func wait(_ member: Int, until generation: UInt32) {
    for other in member + 1..<size where !hasArrived(other, generation) { wait(member, for: other, generation) }
    for other in 0..<member where !hasArrived(other, generation) { wait(member, for: other, generation) }
  }

  /// Counts `member` as arrived without waiting, and returns the generation that the others must reach.
  @inline(__always)
  func arrive(_ member: Int) -> UInt32 {
    let own = arrivals(of: member)
    let generation = (own.pointee.load(ordering: .relaxed) & ~1) &+ 2
    if generation & (2 * Self.processorInterval - 1) == 0 {
      processor(of: member).pointee.store(lamina_current_processor(), ordering: .relaxed)
    }
    // An exchange, not a store: it either finds the mark of one that sleeps, or makes its attempt to leave one fail.
    let before = own.pointee.exchange(generation, ordering: .acquiringAndReleasing)
    if before & 1 != 0 { lamina_wake_all(own) }
    return generation
  }

  /// Whether `other` has reached `generation`; it may be one ahead, and the count wraps.
  @inline(__always)
  private func hasArrived(_ other: Int, _ generation: UInt32) -> Bool {
    let count = arrivals(of: other).pointee.load(ordering: .acquiring) & ~1
    return Int32(bitPattern: count &- generation) >= 0
  }

  @inline(never)
  private func wait(_ member: Int, for other: Int, _ generation: UInt32) {
    if spin(for: other, generation, rounds: Self.firstRounds) { return }
    if sharesProcessor(member) {
      if yield(member, for: other, generation) { return }
    } else {
      let end = lamina_nanoseconds() + Self.spinNanoseconds
      repeat {
        if spin(for: other, generation, rounds: Self.clockRounds) { return }
      } while lamina_nanoseconds() < end
    }
    sleep(until: other, generation)
  }

  @inline(__always)
  private func spin(for other: Int, _ generation: UInt32, rounds: Int) -> Bool {
    for _ in 0..<rounds {
      if hasArrived(other, generation) { return true }
      lamina_cpu_pause()
    }
    return false
  }

  /// Whether another member was last seen on the processor that `member` is on.
  private func sharesProcessor(_ member: Int) -> Bool {
    let own = lamina_current_processor()
    guard own >= 0 else { return false }
    for other in 0..<size where other != member {
      if processor(of: other).pointee.load(ordering: .relaxed) == own { return true }
    }
    return false
  }

  /// Yields where that has worked lately, but for one wait in so many; returns whether `other` has arrived.
  private func yield(_ member: Int, for other: Int, _ generation: UInt32) -> Bool {
    let record = record(of: member)
    if record.pointee.left > 0 {
      record.pointee.left -= 1
      return false
    }
    if record.pointee.quick == Self.quickYields {
      record.pointee.quick = 0
      record.pointee.pause = max(record.pointee.pause / 2, Self.leastPause)
      return false
    }
    var before = lamina_nanoseconds()
    for _ in 0..<Self.yields {
      lamina_yield()
      let arrived = hasArrived(other, generation)
      let after = lamina_nanoseconds()
      if after - before > Self.longYield {
        record.pointee.left = record.pointee.pause
        record.pointee.pause = min(2 * record.pointee.pause, Self.mostPause)
        return arrived
      }
      before = after
      if arrived {
        record.pointee.quick += 1
        return true
      }
    }
    return false
  }

  private func sleep(until other: Int, _ generation: UInt32) {
    let word = arrivals(of: other)
    while true {
      let count = word.pointee.load(ordering: .acquiring)
      if Int32(bitPattern: (count & ~1) &- generation) >= 0 { return }
      let marked = count | 1
      if count == marked
        || word.pointee.compareExchange(expected: count, desired: marked, ordering: .acquiringAndReleasing).exchanged
      {
        lamina_sleep_on(word, marked)
      }
    }
  }

  // MARK: Memory

  /// Twice the number of arrivals, plus 1 where somebody sleeps until the next.
  @inline(__always)
  private func arrivals(of member: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    (memory + member * Self.memberBytes).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// The processor that the member was on when it last arrived.
  @inline(__always)
  private func processor(of member: Int) -> UnsafeMutablePointer<Atomic<Int32>> {
    (memory + member * Self.memberBytes + 4).assumingMemoryBound(to: Atomic<Int32>.self)
  }

  private func record(of member: Int) -> UnsafeMutablePointer<YieldRecord> {
    (memory + member * Self.memberBytes + Self.ownOffset).assumingMemoryBound(to: YieldRecord.self)
  }
}
