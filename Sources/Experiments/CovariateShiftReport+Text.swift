import Foundation
import Training

extension CovariateShiftReport {
  /// The report for people: grid, course, verdict.
  public var text: String {
    func percent(_ share: Double) -> String { String(format: "%6.2f %%", 100 * share) }
    let widths = hidden.map(String.init).joined(separator: "-")
    var lines = [
      "Section 4.1 of Ioffe and Szegedy 2015 on \(data): \(widths) sigmoids, batches of \(batchSize), \(steps) steps,"
        + " pixels from \(threshold) on are 1"
    ]
    if let first = trials.first {
      lines += [
        "",
        "Left open by the paper: plain SGD, and the choice at which the network without batch normalization is best",
        "after \(first.steps) steps, on training images kept back.", "", "   rate  deviation   without BN    with BN",
      ]
      for trial in trials {
        lines.append(
          String(format: "%7g  %9g", trial.choice.learningRate, trial.choice.deviation) + "     "
            + percent(trial.accuracyWithout) + "   " + percent(trial.accuracyWith)
            + (trial.choice == choice ? "   chosen" : ""))
      }
    } else {
      lines.append(
        String(format: "plain SGD, rate %g, first weights' deviation %g", choice.learningRate, choice.deviation))
    }
    lines += ["", "   step   without BN    with BN   inputs to a typical sigmoid: 15, 50, 85 % without; with"]
    let shown = Set(stride(from: 0, through: 10, by: 1).map { $0 * (points.count - 1) / 10 } + [1, 2, 5])
    for (index, point) in points.enumerated() where shown.contains(index) {
      func three(_ p: Percentiles) -> String { String(format: "%6.2f %6.2f %6.2f", p.low, p.middle, p.high) }
      let accuracies = percent(point.accuracyWithout) + "   " + percent(point.accuracyWith)
      let inputs = three(point.inputsWithout) + ";  " + three(point.inputsWith)
      lines.append(String(format: "%7d", point.step) + "     " + accuracies + "   " + inputs)
    }
    let compared = points.count - 1
    lines += [
      "",
      "Above throughout: \(isAboveThroughout ? "yes" : "no"): ahead at \(compared - pointsNotAbove.count) of the "
        + "\(compared) measured steps after step 0"
        + (isAboveThroughout ? "" : ", not at \(pointsNotAbove.map(String.init).joined(separator: ", "))"),
      "Steadier:         \(isSteadier ? "yes" : "no"): "
        + String(
          format: "the typical sigmoid's inputs drift by %.3f without, %.3f with (relative to their spread %.3f, %.3f)",
          driftWithout.drift, driftWith.drift, driftWithout.relativeDrift, driftWith.relativeDrift),
      stepReachingBestWithout.map {
        "With batch normalization step \($0) is as good as the other network ever becomes"
      } ?? "With batch normalization the other network's best is not reached",
      String(
        format: "%.1f s in all; training %.1f s without, %.1f s with", seconds, trainingSecondsWithout,
        trainingSecondsWith),
    ]
    return lines.joined(separator: "\n")
  }
}
