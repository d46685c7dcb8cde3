import Foundation
import Lamina
import Synchronization

/// The experiment of section 4.1 of Ioffe and Szegedy 2015: a network with batch normalization beside the same without.
///
/// Three hidden layers of 100 sigmoids, small Gaussian weights, binary 28×28 images, batches of 60, 50,000 steps. The
/// paper does not say the optimizer, its rate, how small the weights are or where grey becomes white: here plain SGD,
/// white from `threshold` on, and of a grid of rates and deviations the choice at which the network *without* batch
/// normalization does best after a short run, judged by training images that were kept back. Both networks take it.
public struct CovariateShift: Sendable {
  /// Where the images come from.
  public var source = DataSource.synthetic
  /// At most so many training images; nil: all.
  public var trainImages: Int?
  /// At most so many held-out images; nil: all.
  public var testImages: Int?
  /// Updates of each network.
  public var steps = 50_000
  /// Images per step.
  public var batchSize = 60
  /// Units of the hidden layers.
  public var hidden = [100, 100, 100]
  /// Pixels of at least this brightness are 1, the others 0.
  public var threshold: UInt8 = 128
  /// What is tried; a single choice is taken as it is.
  public var choices = CovariateShift.grid
  /// What weights and order are drawn from.
  public var seed: UInt64 = 0
  /// Threads in all, for both networks; nil: as many as processors.
  public var threads: Int?

  /// Four rates by two deviations.
  public static let grid = [0.1, 0.01].flatMap { deviation in
    [0.01, 0.03, 0.1, 0.3].map { CovariateShiftChoice(learningRate: $0, deviation: deviation) }
  }

  /// The paper's setting on synthetic digits.
  public init() {}

  /// Loads the data, chooses from the grid, trains both networks side by side and judges them.
  ///
  /// - Parameter progress: is told what is being done, from any thread.
  /// - Throws: `DatasetError` or `ModelError` where data or settings are at fault.
  public func run(progress: @Sendable (String) -> Void = { _ in }) throws -> CovariateShiftReport {
    try check()
    let started = ContinuousClock.now
    let data = try source.load(trainCount: trainImages, testCount: testImages)
    let training = try binary(data.train)
    let test = try binary(data.test)
    let classes = data.train.classCount
    guard training.count >= 2 * batchSize else {
      throw ModelError.argument(
        name: "trainImages", problem: "\(training.count) are fewer than two batches of \(batchSize)")
    }

    var trials: [CovariateShiftTrial] = []
    if choices.count > 1 {
      // A sixth of the training images judges the grid: of MNIST's 60,000 the last 10,000.
      let kept = try training.split(validationFraction: 1.0 / 6)
      let trialSteps = max(1, steps / 25)
      progress("trying \(choices.count) choices with \(trialSteps) steps each")
      let jobs = choices.flatMap { choice in [(choice, false), (choice, true)] }
      let courses = try concurrently(jobs.count) { index in
        try CovariateShiftNetwork(
          normalized: jobs[index].1, hidden: hidden, choice: jobs[index].0, training: kept.training,
          judged: kept.validation, classes: classes, batchSize: batchSize, threads: threadsPerNetwork, seed: seed
        ).course(over: [trialSteps], measuringUnits: false)
      }
      trials = choices.indices.map { index in
        CovariateShiftTrial(
          choice: choices[index], steps: trialSteps, accuracyWithout: courses[2 * index].points[0].accuracy,
          accuracyWith: courses[2 * index + 1].points[0].accuracy)
      }
    }
    // The first of equals.
    let best = trials.indices.max {
      (trials[$0].accuracyWithout, -$0) < (trials[$1].accuracyWithout, -$1)
    }
    let chosen = best.map { trials[$0].choice } ?? choices[0]
    progress("training both networks: learning rate \(chosen.learningRate), deviation \(chosen.deviation)")
    let marks = Self.marks(steps: steps)
    let courses = try concurrently(2) { index in
      try CovariateShiftNetwork(
        normalized: index == 1, hidden: hidden, choice: chosen, training: training, judged: test, classes: classes,
        batchSize: batchSize, threads: threadsPerNetwork, seed: seed
      ).course(over: marks, measuringUnits: true)
    }
    return CovariateShiftReport(
      self, trainImages: training.count, testImages: test.count, trials: trials, choice: chosen, without: courses[0],
      with: courses[1], seconds: (ContinuousClock.now - started) / .seconds(1))
  }

  /// The steps at which the networks are measured: the first, and a hundred after it.
  static func marks(steps: Int) -> [Int] {
    let count = min(100, steps)
    return (0...count).map { $0 * steps / count }
  }

  private func check() throws {
    func require(_ condition: Bool, _ name: String, _ problem: String) throws {
      if !condition { throw ModelError.argument(name: name, problem: problem) }
    }
    try require(steps >= 1, "steps", "must be at least 1, not \(steps)")
    try require(batchSize >= 2, "batchSize", "must be at least 2, not \(batchSize)")
    try require(!hidden.isEmpty, "hidden", "needs at least one hidden layer")
    try require(!choices.isEmpty, "choices", "needs at least one choice")
    if let threads { try require(threads >= 1, "threads", "must be at least 1, not \(threads)") }
  }

  private func binary(_ images: ImageDataset) throws -> Samples<Float> {
    let pixels = images.pixels.map { $0 >= threshold ? UInt8(1) : 0 }
    let binary = try ImageDataset(
      pixels: pixels, labels: images.labels, height: images.height, width: images.width,
      classNames: images.classNames)
    return try Samples(binary, scaling: .uniform(scale: 1, offset: 0))
  }

  // MARK: Threads

  /// Two networks at once on half of the threads each cost less than one after the other on all of them: layers of 100
  /// units are two tiles, and the halves wait for each other eight times a step.
  private var totalThreads: Int { threads ?? min(8, availableProcessors()) }
  private var threadsPerNetwork: Int { max(1, totalThreads / 2) }

  /// What `body` makes of 0 ..< count, two at a time where there are threads for it.
  private func concurrently<Result: Sendable>(
    _ count: Int, _ body: @Sendable (Int) throws -> Result
  ) throws -> [Result] {
    guard totalThreads > 1 else { return try (0..<count).map(body) }
    let results = UnsafeMutableBufferPointer<Swift.Result<Result, any Error>?>.allocate(capacity: count)
    results.initialize(repeating: nil)
    defer {
      results.deinitialize()
      results.deallocate()
    }
    // Each index is taken by one of the two, and all is done when `concurrentPerform` returns.
    nonisolated(unsafe) let places = results
    let next = Atomic<Int>(0)
    DispatchQueue.concurrentPerform(iterations: 2) { _ in
      while true {
        let index = next.add(1, ordering: .relaxed).oldValue
        guard index < count else { return }
        places[index] = Swift.Result { try body(index) }
      }
    }
    return try results.compactMap { try $0?.get() }
  }
}
