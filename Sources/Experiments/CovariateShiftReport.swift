import Foundation
import Lamina
import Training

/// One choice of the grid, tried for a short run.
public struct CovariateShiftTrial: Sendable, Equatable {
  /// What was tried.
  public var choice: CovariateShiftChoice
  /// Updates of each network.
  public var steps: Int
  /// Share of the images kept back that the network without batch normalization answers right.
  public var accuracyWithout: Double
  /// The same with batch normalization.
  public var accuracyWith: Double
}

/// What was measured of both networks at one step; percentiles are those of each network's typical sigmoid.
public struct CovariateShiftPoint: Sendable, Equatable {
  /// Updates made.
  public var step: Int
  /// Share of the held-out images that the network without batch normalization answers right.
  public var accuracyWithout: Double
  /// The same with batch normalization.
  public var accuracyWith: Double
  /// Inputs to the sigmoid without batch normalization.
  public var inputsWithout: Percentiles
  /// Inputs to the sigmoid with batch normalization.
  public var inputsWith: Percentiles
}

/// How much the inputs to the sigmoids of one network's last hidden layer moved.
public struct CovariateShiftDrift: Sendable, Equatable {
  /// The unit whose drift is the median of all units' (the lower one of two): the typical one.
  public var unit: Int
  /// Its drift, in the unit of the sigmoid's input: see `drift(of:)`.
  public var drift: Double
  /// The same over half the distance between its outer percentiles, mean over the run: whatever its scale.
  public var relativeDrift: Double
  /// Units whose drift is larger than that of the typical unit of the other network.
  public var unitsAboveOther = 0
  /// Units in all.
  public var units: Int

  fileprivate init(_ course: Course) {
    let drifts = course.drifts
    let order = drifts.indices.sorted { (drifts[$0], $0) < (drifts[$1], $1) }
    unit = order[(order.count - 1) / 2]
    drift = drifts[unit]
    units = drifts.count
    let track = course.track(unit: unit)
    let width = track.reduce(0) { $0 + $1.halfWidth } / Double(track.count)
    relativeDrift = width > 0 ? drift / width : 0
  }
}

/// What the experiment of section 4.1 gave, and whether the paper's two claims hold.
public struct CovariateShiftReport: Sendable, Equatable {
  /// Name of the data.
  public var data: String
  /// Images trained on.
  public var trainImages: Int
  /// Held-out images, by which accuracy is measured.
  public var testImages: Int
  /// Updates of each network.
  public var steps: Int
  /// Images per step.
  public var batchSize: Int
  /// Units of the hidden layers.
  public var hidden: [Int]
  /// Brightness from which a pixel is 1.
  public var threshold: UInt8
  /// The grid; empty where nothing was left to choose.
  public var trials: [CovariateShiftTrial]
  /// What was chosen.
  public var choice: CovariateShiftChoice
  /// The course of both networks.
  public var points: [CovariateShiftPoint]
  /// Movement of the sigmoids' inputs without batch normalization.
  public var driftWithout: CovariateShiftDrift
  /// Movement of the sigmoids' inputs with batch normalization.
  public var driftWith: CovariateShiftDrift
  /// Seconds of training without batch normalization.
  public var trainingSecondsWithout: Double
  /// Seconds of training with batch normalization.
  public var trainingSecondsWith: Double
  /// Seconds in all: data, grid, training, measuring.
  public var seconds: Double
  /// What all random numbers were drawn from.
  public var seed: UInt64

  init(
    _ experiment: CovariateShift, trainImages: Int, testImages: Int, trials: [CovariateShiftTrial],
    choice: CovariateShiftChoice, without: Course, with: Course, seconds: Double
  ) {
    data = experiment.source.name
    self.trainImages = trainImages
    self.testImages = testImages
    steps = experiment.steps
    batchSize = experiment.batchSize
    hidden = experiment.hidden
    threshold = experiment.threshold
    self.trials = trials
    self.choice = choice
    var (first, second) = (CovariateShiftDrift(without), CovariateShiftDrift(with))
    first.unitsAboveOther = without.drifts.count { $0 > second.drift }
    second.unitsAboveOther = with.drifts.count { $0 > first.drift }
    (driftWithout, driftWith) = (first, second)
    points = zip(without.points, with.points).map { plain, normalized in
      CovariateShiftPoint(
        step: plain.step, accuracyWithout: plain.accuracy, accuracyWith: normalized.accuracy,
        inputsWithout: plain.units[first.unit], inputsWith: normalized.units[second.unit])
    }
    trainingSecondsWithout = without.trainingSeconds
    trainingSecondsWith = with.trainingSeconds
    self.seconds = seconds
    seed = experiment.seed
  }

  // MARK: Verdict

  /// Measured steps after the first at which batch normalization is not ahead.
  public var pointsNotAbove: [Int] {
    points.dropFirst().filter { $0.accuracyWith <= $0.accuracyWithout }.map(\.step)
  }

  /// Claim of figure 1 (a): at every measured step but step 0, where nothing is learnt, batch normalization is ahead.
  public var isAboveThroughout: Bool { pointsNotAbove.isEmpty }

  /// Claim of figure 1 (b, c): the typical sigmoid's inputs move less with batch normalization, both in their own unit
  /// and relative to their spread.
  public var isSteadier: Bool {
    driftWith.drift < driftWithout.drift && driftWith.relativeDrift < driftWithout.relativeDrift
  }

  /// Whether both claims hold.
  public var reproduces: Bool { isAboveThroughout && isSteadier }

  /// The first measured step at which batch normalization is as good as the other network ever becomes, or nil.
  public var stepReachingBestWithout: Int? {
    let best = points.map(\.accuracyWithout).max() ?? 1
    return points.first { $0.accuracyWith >= best }?.step
  }
}

extension CovariateShiftReport: Encodable {
  private enum CodingKeys: String, CodingKey {
    case experiment, data, steps, hidden, threshold, optimizer, deviation, grid, seconds, seed, verdict, unit, drift
    case accuracy, without, with, reproduces, step
    case trainImages = "train_images"
    case testImages = "test_images"
    case batchSize = "batch_size"
    case learningRate = "learning_rate"
    case accuracyWithout = "accuracy_without"
    case accuracyWith = "accuracy_with"
    case bestAccuracy = "best_accuracy"
    case finalAccuracy = "final_accuracy"
    case relativeDrift = "relative_drift"
    case trainingSeconds = "training_seconds"
    case aboveThroughout = "above_throughout"
    case stepsNotAbove = "steps_not_above"
    case steadier
    case reachesBestWithoutAt = "reaches_best_without_at_step"
  }

  /// Writes choices, the ends of the curves and the verdict; the curves themselves are in the CSV files.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode("covariate-shift", forKey: .experiment)
    try container.encode(data, forKey: .data)
    try container.encode(trainImages, forKey: .trainImages)
    try container.encode(testImages, forKey: .testImages)
    try container.encode(steps, forKey: .steps)
    try container.encode(batchSize, forKey: .batchSize)
    try container.encode(hidden, forKey: .hidden)
    try container.encode(threshold, forKey: .threshold)
    try container.encode("sgd", forKey: .optimizer)
    try container.encode(choice.learningRate, forKey: .learningRate)
    try container.encode(choice.deviation, forKey: .deviation)
    try container.encode(seconds, forKey: .seconds)
    try container.encode(seed, forKey: .seed)
    var grid = container.nestedUnkeyedContainer(forKey: .grid)
    for trial in trials {
      var entry = grid.nestedContainer(keyedBy: CodingKeys.self)
      try entry.encode(trial.choice.learningRate, forKey: .learningRate)
      try entry.encode(trial.choice.deviation, forKey: .deviation)
      try entry.encode(trial.steps, forKey: .steps)
      try entry.encode(trial.accuracyWithout, forKey: .accuracyWithout)
      try entry.encode(trial.accuracyWith, forKey: .accuracyWith)
    }
    func network(_ key: CodingKeys, _ drift: CovariateShiftDrift, _ accuracies: [Double], _ seconds: Double) throws {
      var entry = container.nestedContainer(keyedBy: CodingKeys.self, forKey: key)
      try entry.encode(accuracies.last ?? 0, forKey: .finalAccuracy)
      try entry.encode(accuracies.max() ?? 0, forKey: .bestAccuracy)
      try entry.encode(drift.unit, forKey: .unit)
      // No number in JSON where a network diverged.
      try entry.encode(drift.drift.isFinite ? drift.drift : nil, forKey: .drift)
      try entry.encode(drift.relativeDrift.isFinite ? drift.relativeDrift : nil, forKey: .relativeDrift)
      try entry.encode(seconds, forKey: .trainingSeconds)
    }
    try network(.without, driftWithout, points.map(\.accuracyWithout), trainingSecondsWithout)
    try network(.with, driftWith, points.map(\.accuracyWith), trainingSecondsWith)
    var verdict = container.nestedContainer(keyedBy: CodingKeys.self, forKey: .verdict)
    try verdict.encode(isAboveThroughout, forKey: .aboveThroughout)
    try verdict.encode(pointsNotAbove, forKey: .stepsNotAbove)
    try verdict.encode(isSteadier, forKey: .steadier)
    try verdict.encode(reproduces, forKey: .reproduces)
    try verdict.encode(stepReachingBestWithout, forKey: .reachesBestWithoutAt)
  }
}
