import Testing

@testable import NeuralNetworks

/// Whether calls are shared by columns: followed on a clock of the test's own.
@Suite("Choice of sharing")
struct SharingChoiceTests {
  /// Calls one after the other, each as long as `plain` or `shared` says, `gap` ns apart.
  private struct Calls {
    var choice = SharingChoice()
    var now: UInt64 = 1_000_000_000
    var gap: UInt64 = 100
    var plain: UInt64 = 7_000
    var shared: UInt64 = 4_500
    /// Every so many shared calls, one takes 3 ms; 0: none.
    var outageInterval = 0
    var sharedSoFar = 0

    /// Runs `count` calls and returns how many were shared.
    @discardableResult
    mutating func run(_ count: Int) -> Int {
      var result = 0
      for _ in 0..<count {
        let shares = choice.shares(at: now)
        if shares { sharedSoFar += 1 }
        let isOutage = shares && outageInterval > 0 && sharedSoFar % outageInterval == 0
        let end = now + (isOutage ? 3_000_000 : shares ? shared : plain)
        choice.record(shared: shares, from: now, to: end)
        now = end + gap
        if shares { result += 1 }
      }
      return result
    }
  }

  @Test("Calls that sharing makes shorter are shared, but for those that renew the time without")
  func pays() {
    var calls = Calls()
    #expect(calls.run(SharingChoice.firstCalls) == 0)
    // Each renewal comes after a trial and as many shared calls.
    let renewals = 50_000 / SharingChoice.sharedCalls
    #expect(calls.run(50_000) >= 50_000 - renewals * SharingChoice.firstCalls)
  }

  @Test("Where sharing takes longer it is tried ever less often")
  func doesNotPay() {
    var calls = Calls(plain: 3_500, shared: 4_000)
    let trial = SharingChoice.wakingCalls + SharingChoice.timedCalls
    #expect(calls.run(SharingChoice.firstCalls + trial + SharingChoice.leastPause) == trial)
    #expect(calls.run(trial + 2 * SharingChoice.leastPause) == trial)
    calls.run(200_000)
    #expect(calls.run(1_000_000) <= (1_000_000 / SharingChoice.mostPause + 1) * trial)
  }

  @Test("A trial that costs too much ends early")
  func expensiveTrial() {
    var calls = Calls(shared: 700_000)
    let shared = calls.run(SharingChoice.firstCalls + SharingChoice.leastPause)
    #expect(shared > 0 && UInt64(shared) * calls.shared < 3 * UInt64(SharingChoice.allowance))
  }

  @Test("A team that must be woken first is not woken for a short call, but for a long one")
  func farApart() {
    var short = Calls(gap: 2 * SharingChoice.awake)
    #expect(short.run(5_000) == 0)
    var long = Calls(gap: 2 * SharingChoice.awake, plain: 500_000, shared: 300_000)
    #expect(long.run(1_000) > 900)
  }

  @Test("Sharing ends where it comes to take longer, and begins again")
  func changes() {
    var calls = Calls()
    calls.run(1_000)
    // Another program takes the team's processors.
    calls.shared = 40_000
    #expect(calls.run(2_000) < 500)
    // And goes.
    calls.shared = 4_500
    calls.run(4_000)
    #expect(calls.run(1_000) > 900)
  }

  @Test("Programs that take each other's processors by turns do not share for long")
  func contention() {
    var calls = Calls(outageInterval: 600)
    calls.run(100_000)
    // A trial and a window of shared calls, as rarely as may be.
    let cycle = SharingChoice.wakingCalls + SharingChoice.timedCalls + SharingChoice.windowCalls
    #expect(calls.run(1_000_000) <= (1_000_000 / SharingChoice.mostPause + 1) * cycle)
  }

  @Test("An interruption now and then does not end sharing for long")
  func interruptions() {
    var calls = Calls(outageInterval: 10_000)
    #expect(calls.run(100_000) > 90_000)
  }
}
