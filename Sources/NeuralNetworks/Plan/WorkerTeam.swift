import CPUFeatures
import Foundation

/// Work that every member of a team does a share of.
protocol TeamJob: AnyObject {
  /// Does `member`'s share; called once per run on each member, at the same time.
  func work(member: Int)
}

extension TeamJob {
  fileprivate var address: UnsafeRawPointer { UnsafeRawPointer(Unmanaged.passUnretained(self).toOpaque()) }

  /// The same for a job that others keep alive: its members count no references, for which they would wait.
  fileprivate static func work(on job: UnsafeRawPointer, member: Int) {
    Unmanaged<Self>.fromOpaque(job)._withUnsafeGuaranteedRef { $0.work(member: member) }
  }
}

/// A few threads that work in step: the caller is member 0, the others wait between runs.
///
/// A run starts and ends with one barrier of its own; within it, `barrier(_:)` holds all members until the last
/// arrives. How a member waits is `TeamBarrier`'s subject. Nothing is allocated after `init`; `deinit` ends the threads
/// and returns when they have ended. One caller at a time.
final class WorkerTeam: @unchecked Sendable {
  /// Members, the caller included.
  let size: Int
  private let barrier: TeamBarrier
  private let shared: Shared
  private var threads: [UInt] = []

  /// A team of `size` members: `size − 1` threads are started and wait.
  ///
  /// - Throws: `ModelError.argument` where the system refuses a thread.
  init(size: Int) throws {
    precondition(size >= 1, "a team has at least one member")
    self.size = size
    barrier = TeamBarrier(size: size)
    shared = Shared(barrier)
    for member in 1..<max(size, 1) {
      let body = Unmanaged.passRetained(Member(shared, member))
      var thread: UInt = 0
      let status = lamina_thread_start(
        &thread, "lamina-\(member)", Int32(member), 1 << 21, runMember, body.toOpaque())
      guard status == 0 else {
        body.release()
        // Those that run wait for all: count the others as arrived.
        for missing in member..<size { _ = barrier.arrive(missing) }
        stop()
        throw ModelError.argument(
          name: "threads",
          problem: "the system refuses thread \(member + 1) of \(size) (\(String(cString: strerror(status)))); "
            + "ask for fewer")
      }
      threads.append(thread)
    }
  }

  // Where `init` throws, it has stopped the threads itself.
  deinit {
    if threads.count == size - 1 { stop() }
    barrier.deallocate()
  }

  private func stop() {
    shared.stopped = true
    barrier.wait(0)
    for thread in threads { lamina_thread_join(thread) }
    threads = []
  }

  /// Does `job` on every member and returns when all have finished.
  ///
  /// Subnormal numbers count as 0 meanwhile: the moments of weights whose inputs are rarely on decay through them, and
  /// arithmetic with them takes ten times as long (a step of 784-128-64-10 with Adam on MNIST: 17 µs of updates, 9
  /// without). The caller's own mode is put back.
  func run(_ job: any TeamJob) {
    let mode = lamina_flush_subnormals()
    defer { lamina_restore_float_mode(mode) }
    guard size > 1 else { return job.work(member: 0) }
    // A local job could otherwise end with this member's share of it.
    withExtendedLifetime(job) {
      shared.kind = type(of: job)
      shared.job = job.address
      barrier.wait(0)
      job.work(member: 0)
      barrier.wait(0)
    }
  }

  /// Holds `member` until all have called it.
  @inline(__always)
  func barrier(_ member: Int) { if size > 1 { barrier.wait(member) } }

  /// The first half of `barrier(_:)`: says that `member` has come here, and lets it go on.
  @inline(__always)
  func arrive(_ member: Int) -> UInt32 { size > 1 ? barrier.arrive(member) : 0 }

  /// The second half: holds `member` until all have called the `arrive` that returned `generation`.
  @inline(__always)
  func barrier(_ member: Int, until generation: UInt32) { if size > 1 { barrier.wait(member, until: generation) } }
}

/// What the members share.
private final class Shared: @unchecked Sendable {
  let barrier: TeamBarrier
  // Written by member 0 before the barrier that starts a run, read by the others after it. The caller of the run holds
  // the job: a member that did could be the one that frees its own team.
  var job: UnsafeRawPointer?
  var kind: (any TeamJob.Type)?
  var stopped = false

  init(_ barrier: TeamBarrier) { self.barrier = barrier }

  /// What a thread does: its share of each run, until the team is stopped.
  func serve(_ member: Int) {
    _ = lamina_flush_subnormals()
    while true {
      barrier.wait(member)
      if stopped { return }
      if let job { kind?.work(on: job, member: member) }
      barrier.wait(member)
    }
  }
}

/// One thread's part of the team.
private final class Member: Sendable {
  let shared: Shared
  let number: Int

  init(_ shared: Shared, _ number: Int) {
    self.shared = shared
    self.number = number
  }
}

private func runMember(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let argument else { return nil }
  let member = Unmanaged<Member>.fromOpaque(argument).takeRetainedValue()
  member.shared.serve(member.number)
  return nil
}
