import CPUFeatures
import Foundation
import Testing

@testable import NeuralNetworks

/// The team of threads: every member works, none passes a barrier early, all end with the team.
@Suite("Worker team")
struct WorkerTeamTests {
  /// Members write into their own place and, after a barrier, read everybody's.
  private final class Exchange: TeamJob {
    let team: WorkerTeam
    let rounds: Int
    /// How long each member dawdles before it writes.
    let delays: [useconds_t]
    /// Whether members do something between the halves of a barrier, and now and then nothing but arrive.
    let inHalves: Bool
    // Two rows, used in turn: one barrier a round keeps readers and writers apart.
    let values: UnsafeMutablePointer<Int>
    let faults: UnsafeMutablePointer<Int>

    init(_ team: WorkerTeam, rounds: Int, delays: [useconds_t] = [], inHalves: Bool = false) {
      self.team = team
      self.rounds = rounds
      self.delays = delays
      self.inHalves = inHalves
      values = .allocate(capacity: 2 * team.size)
      values.initialize(repeating: -1, count: 2 * team.size)
      faults = .allocate(capacity: team.size)
      faults.initialize(repeating: 0, count: team.size)
    }

    deinit {
      values.deallocate()
      faults.deallocate()
    }

    var faultCount: Int { (0..<team.size).reduce(0) { $0 + faults[$1] } }

    func work(member: Int) {
      for round in 0..<rounds {
        let row = values + (round % 2) * team.size
        if !delays.isEmpty { usleep(delays[member % delays.count]) }
        row[member] = round
        if inHalves {
          let generation = team.arrive(member)
          if !delays.isEmpty { usleep(delays[(member + 1) % delays.count]) }
          if round % 3 == 2 { _ = team.arrive(member) }
          team.barrier(member, until: generation)
        } else {
          team.barrier(member)
        }
        for other in 0..<team.size where row[other] != round { faults[member] += 1 }
      }
    }
  }

  @Test("No member passes a barrier before all have arrived", arguments: [1, 2, 3, 4, 5, 8, 13])
  func barriers(size: Int) throws {
    let team = try WorkerTeam(size: size)
    let job = Exchange(team, rounds: 300)
    for _ in 0..<5 {
      team.run(job)
      #expect(job.faultCount == 0)
    }
  }

  @Test("Members may work between the halves of a barrier", arguments: [1, 2, 3, 5])
  func halves(size: Int) throws {
    let team = try WorkerTeam(size: size)
    for delays in [[], [0, 300], [300, 0], [50, 50]] as [[useconds_t]] {
      let job = Exchange(team, rounds: delays.isEmpty ? 300 : 20, delays: delays, inHalves: true)
      for _ in 0..<3 {
        team.run(job)
        #expect(job.faultCount == 0)
      }
    }
  }

  @Test("Members that sleep are woken, within a run and between runs")
  func longWaits() throws {
    for size in [2, 3] {
      let team = try WorkerTeam(size: size)
      // Each is the last to arrive by turns of what the others wait: longer than any spins.
      for delays in [[0, 3_000], [3_000, 0], [500, 500]] as [[useconds_t]] {
        let job = Exchange(team, rounds: 10, delays: delays)
        team.run(job)
        #expect(job.faultCount == 0)
        usleep(2_000)
      }
    }
  }

  @Test("Two teams at once do not disturb each other")
  func twoTeams() throws {
    DispatchQueue.concurrentPerform(iterations: 4) { _ in
      guard let team = try? WorkerTeam(size: 2) else {
        Issue.record("no team")
        return
      }
      let job = Exchange(team, rounds: 500)
      team.run(job)
      #expect(job.faultCount == 0)
    }
  }

  @Test("A member may use every processor that its caller may, wherever it began", arguments: [2, 3, 5])
  func processors(size: Int) throws {
    final class Census: TeamJob {
      let counts: UnsafeMutablePointer<Int32>
      init(_ size: Int) { counts = .allocate(capacity: size) }
      deinit { counts.deallocate() }
      func work(member: Int) { counts[member] = lamina_affinity_processors() }
    }
    let team = try WorkerTeam(size: size)
    let census = Census(size)
    team.run(census)
    for member in 0..<size { #expect(census.counts[member] == lamina_affinity_processors()) }
  }

  @Test("The count of arrivals may wrap", arguments: [1 << 30, 1 << 31] as [UInt32])
  func wrap(end: UInt32) {
    let barrier = TeamBarrier(size: 2, arrivals: end - 20)
    defer { barrier.deallocate() }
    nonisolated(unsafe) var progress = (0, 0)
    nonisolated(unsafe) var faults = (0, 0)
    let body = { @Sendable (member: Int) in
      for round in 1...100 {
        if member == 0 { progress.0 = round } else { progress.1 = round }
        barrier.wait(member)
        let isFault = progress.0 != round || progress.1 != round
        if isFault && member == 0 { faults.0 += 1 }
        if isFault && member == 1 { faults.1 += 1 }
        barrier.wait(member)
      }
    }
    let thread = Thread { body(1) }
    thread.start()
    body(0)
    while !thread.isFinished { usleep(100) }
    #expect(faults == (0, 0))
  }

  #if os(Linux)
    @Test("Two hundred teams leave no thread behind")
    func threadsEnd() throws {
      for size in [2, 3, 5] {
        for number in 0..<70 {
          let team = try WorkerTeam(size: size)
          if number % 2 == 0 { team.run(Exchange(team, rounds: 3)) }
        }
      }
      // Other tests run beside this one: only threads with this team's names count, and theirs are few.
      func workers() throws -> Int {
        let folder = "/proc/self/task"
        return try FileManager.default.contentsOfDirectory(atPath: folder).count { thread in
          let name = try? String(contentsOfFile: "\(folder)/\(thread)/comm", encoding: .utf8)
          return name?.hasPrefix("lamina-") ?? false
        }
      }
      #expect(try workers() < 70)
    }
  #endif
}
