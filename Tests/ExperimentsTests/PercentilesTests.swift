import Testing
import Training

@testable import Experiments

@Suite struct PercentilesTests {
  @Test func percentilesAreLinearBetweenNeighbours() {
    // Places 0.15·4 = 0.6, 2, 3.4 of 0, 10, 20, 30, 40.
    let percentiles = Percentiles(of: [30, 0, 40, 10, 20])
    #expect(abs(percentiles.low - 6) < 1e-12 && percentiles.middle == 20 && abs(percentiles.high - 34) < 1e-12)
    #expect(abs(percentiles.halfWidth - 14) < 1e-12)
    #expect(Percentiles(of: [7]) == Percentiles(low: 7, middle: 7, high: 7))
    #expect(Percentiles(of: []).middle.isNaN)
  }

  @Test func driftIsTheMeanDeviationOfThePercentiles() {
    let still = Percentiles(low: -1, middle: 0, high: 1)
    #expect(drift(of: [still, still, still]) == 0)
    #expect(drift(of: []) == 0)
    // Only the high percentile moves: deviation 2 of {1, 5}, a third of it counts.
    let wider = Percentiles(low: -1, middle: 0, high: 5)
    #expect(abs(drift(of: [still, wider]) - 2.0 / 3) < 1e-12)
    // A shift counts as itself, whatever the level.
    let shifted = Percentiles(low: 0, middle: 1, high: 2)
    #expect(abs(drift(of: [still, shifted]) - 0.5) < 1e-12)
  }
}
