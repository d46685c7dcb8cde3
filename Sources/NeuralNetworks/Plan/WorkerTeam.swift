import CPUFeatures
import Foundation
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Work that every member of a team does a share of.
protocol TeamJob: AnyObject {
  /// Does `member`'s share; called once per run on each member, at the same time.
  func work(member: Int)
}

/// A few threads that work in step: the caller is member 0, the others wait between runs.
///
/// A run starts and ends with one barrier of its own; within it, `barrier()` holds all members until the last arrives.
/// A waiting member spins for some tens of microseconds, as long as the waits within a training step are; after that it
/// yields the core (within a run) or sleeps (between runs). Nothing is allocated after `init`.
final class WorkerTeam: Sendable {
  /// Members, the caller included.
  let size: Int
  private let shared: Shared

  /// A team of `size` members: `size − 1` threads are started and wait.
  init(size: Int) {
    precondition(size >= 1, "a team has at least one member")
    self.size = size
    shared = Shared(size: size)
    for member in 1..<max(size, 1) {
      let shared = shared
      let thread = Thread { shared.waitForWork(member: member) }
      thread.name = "lamina-\(member)"
      thread.stackSize = 1 << 21
      thread.start()
    }
  }

  deinit { shared.stop() }

  /// Does `job` on every member and returns when all have finished.
  ///
  /// Subnormal numbers count as 0 meanwhile: the moments of weights whose inputs are rarely on decay through them, and
  /// arithmetic with them takes ten times as long (a step of 784-128-64-10 with Adam on MNIST: 17 µs of updates, 9
  /// without). The caller's own mode is put back.
  func run(_ job: any TeamJob) {
    let mode = lamina_flush_subnormals()
    defer { lamina_restore_float_mode(mode) }
    guard size > 1 else { return job.work(member: 0) }
    shared.publish(job)
    job.work(member: 0)
    shared.barrier()
    shared.clearJob()
  }

  /// Holds the calling member until all have called it.
  @inline(__always)
  func barrier() { if size > 1 { shared.barrier() } }
}

/// What the members share.
///
/// The atomics lie a cache-line pair apart: members spin on one without slowing another.
private final class Shared: @unchecked Sendable {
  private let size: Int
  private let lines: UnsafeMutableRawPointer
  private let arrivals: UnsafeMutablePointer<Atomic<Int>>
  private let barrierGeneration: UnsafeMutablePointer<Atomic<Int>>
  private let runGeneration: UnsafeMutablePointer<Atomic<Int>>
  private let sleepers: UnsafeMutablePointer<Atomic<Int>>
  private let condition = NSCondition()
  // Written by member 0 before it raises `runGeneration`, read by the others after they see it raised.
  private var job: (any TeamJob)?
  private var stopped = false

  private static let spacing = 128
  /// Rounds of spinning before a waiting member yields or sleeps: about 50 µs.
  private static let spins = 2_000

  init(size: Int) {
    self.size = size
    let lines = UnsafeMutableRawPointer.allocate(byteCount: 4 * Shared.spacing, alignment: Shared.spacing)
    self.lines = lines
    func atomic(_ index: Int) -> UnsafeMutablePointer<Atomic<Int>> {
      let pointer = (lines + index * Shared.spacing).bindMemory(to: Atomic<Int>.self, capacity: 1)
      pointer.initialize(to: Atomic(0))
      return pointer
    }
    arrivals = atomic(0)
    barrierGeneration = atomic(1)
    runGeneration = atomic(2)
    sleepers = atomic(3)
  }

  deinit {
    for pointer in [arrivals, barrierGeneration, runGeneration, sleepers] { pointer.deinitialize(count: 1) }
    lines.deallocate()
  }

  func publish(_ job: any TeamJob) {
    self.job = job
    raiseRunGeneration()
  }

  func clearJob() { job = nil }

  func stop() {
    stopped = true
    raiseRunGeneration()
  }

  private func raiseRunGeneration() {
    runGeneration.pointee.add(1, ordering: .sequentiallyConsistent)
    // Sequential consistency pairs with the sleeper's: either it sees the new generation, or we see it asleep.
    if sleepers.pointee.load(ordering: .sequentiallyConsistent) > 0 {
      condition.lock()
      condition.broadcast()
      condition.unlock()
    }
  }

  func waitForWork(member: Int) {
    _ = lamina_flush_subnormals()
    var seen = 0
    while true {
      var rounds = 0
      while runGeneration.pointee.load(ordering: .acquiring) == seen {
        rounds += 1
        if rounds < Shared.spins { lamina_cpu_pause() } else { sleep(while: seen) }
      }
      seen += 1
      if stopped { return }
      job?.work(member: member)
      barrier()
    }
  }

  private func sleep(while seen: Int) {
    condition.lock()
    sleepers.pointee.add(1, ordering: .sequentiallyConsistent)
    while runGeneration.pointee.load(ordering: .sequentiallyConsistent) == seen { condition.wait() }
    sleepers.pointee.subtract(1, ordering: .sequentiallyConsistent)
    condition.unlock()
  }

  @inline(__always)
  func barrier() {
    let generation = barrierGeneration.pointee.load(ordering: .acquiring)
    if arrivals.pointee.add(1, ordering: .acquiringAndReleasing).newValue == size {
      arrivals.pointee.store(0, ordering: .relaxed)
      barrierGeneration.pointee.store(generation + 1, ordering: .releasing)
      return
    }
    var rounds = 0
    while barrierGeneration.pointee.load(ordering: .acquiring) == generation {
      rounds += 1
      if rounds < Shared.spins { lamina_cpu_pause() } else { sched_yield() }
    }
  }
}
