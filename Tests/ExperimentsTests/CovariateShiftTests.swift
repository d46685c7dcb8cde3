import Datasets
import Foundation
import NeuralNetworks
import Testing

@testable import Experiments

@Suite struct CovariateShiftTests {
  private func small(threads: Int = 2) -> CovariateShift {
    var experiment = CovariateShift()
    experiment.trainImages = 1_200
    experiment.testImages = 300
    experiment.steps = 400
    experiment.hidden = [20, 20, 20]
    experiment.choices = [0.1, 0.3].map { CovariateShiftChoice(learningRate: $0, deviation: 0.3) }
    experiment.threads = threads
    return experiment
  }

  @Test func normalizedNetworkLearnsFirstOnDrawnDigits() throws {
    let report = try small().run()
    #expect(report.points.map(\.step) == (0...100).map { $0 * 4 })
    #expect(report.trials.count == 2 && report.trials.allSatisfy { $0.steps == 16 })
    let best = try #require(report.trials.map(\.accuracyWithout).max())
    #expect(report.trials.first { $0.choice == report.choice }?.accuracyWithout == best)
    let last = try #require(report.points.last)
    #expect(last.accuracyWith > 0.6 && last.accuracyWith > last.accuracyWithout)
    // The first batch of held-out images, normalized by its own statistics: symmetric about 0 for γ 1 and β 0.
    let first = report.points[0].inputsWith
    #expect(abs(first.middle) < 0.5 && first.high > 0.5 && first.low < -0.5)
  }

  @Test func resultDoesNotDependOnThreads() throws {
    var (one, two) = (try small(threads: 1).run(), try small(threads: 4).run())
    for path in [\CovariateShiftReport.seconds, \.trainingSecondsWith, \.trainingSecondsWithout] {
      (one[keyPath: path], two[keyPath: path]) = (0, 0)
    }
    #expect(one == two)
  }

  @Test func verdictFollowsThePoints() throws {
    var experiment = small()
    experiment.steps = 20
    var report = try experiment.run()
    for index in report.points.indices {
      (report.points[index].accuracyWithout, report.points[index].accuracyWith) = (0.5, 0.6)
    }
    report.points[0].accuracyWith = 0
    (report.driftWithout.drift, report.driftWithout.relativeDrift) = (2, 1)
    (report.driftWith.drift, report.driftWith.relativeDrift) = (1, 0.5)
    #expect(report.isAboveThroughout && report.isSteadier && report.reproduces)
    #expect(report.stepReachingBestWithout == report.points[1].step)
    report.points[3].accuracyWith = 0.5
    #expect(report.pointsNotAbove == [report.points[3].step] && !report.isAboveThroughout && !report.reproduces)
    report.points[3].accuracyWith = 0.6
    report.driftWith.relativeDrift = 1
    #expect(!report.isSteadier && !report.reproduces)
  }

  @Test func filesHoldTheCurves() throws {
    var experiment = small()
    experiment.steps = 3
    let report = try experiment.run()
    let folder = NSTemporaryDirectory() + "lamina-\(UUID().uuidString)/figure"
    defer { try? FileManager.default.removeItem(atPath: (folder as NSString).deletingLastPathComponent) }
    let outcome = try report.write(to: folder)
    func lines(_ name: String) throws -> [Substring] {
      try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8).split(separator: "\n")
    }
    let accuracy = try lines("accuracy.csv")
    #expect(accuracy.count == 5 && accuracy[0] == "step,without,with" && accuracy[4].hasPrefix("3,"))
    let percentiles = try lines("percentiles.csv")
    #expect(percentiles.count == 5 && percentiles[1].split(separator: ",").count == 7)
    #expect(Float(percentiles[1].split(separator: ",")[2]) == Float(report.points[0].inputsWithout.middle))
    #expect(try lines("grid.csv").count == 3)
    switch outcome {
    case .drawn(let path): #expect(try String(contentsOfFile: path, encoding: .utf8).contains("<svg"))
    case .notDrawn(let reason): #expect(reason.contains("gnuplot"))
    }
    #expect(throws: DatasetError.self) { try report.write(to: "/dev/null/figure") }
  }

  @Test func badSettingsAreRefused() {
    for change in [
      { $0.steps = 0 }, { $0.batchSize = 1 }, { $0.hidden = [] }, { $0.choices = [] }, { $0.threads = 0 },
      { $0.trainImages = 100 },
    ] as [(inout CovariateShift) -> Void] {
      var experiment = small()
      change(&experiment)
      #expect(throws: ModelError.self) { try experiment.run() }
    }
  }
}
