import Foundation
import Kernels
import Lamina
import NeuralNetworks
import RandomNumbers

/// Measures the training step of one network: gather a batch, forward, loss, backward, update.
public struct StepBenchmark: Sendable {
  /// Numbers of a sample.
  public var inputs = 784
  /// Number of classes.
  public var classes = 10
  /// The network between them.
  public var recipe = ClassifierRecipe()
  /// The optimizer.
  public var optimizer: any Optimizer = Adam()
  /// Images per step.
  public var batchSize = 32
  /// What becomes of a step in which a number is not finite.
  public var nonFinite = NonFinitePolicy.ignore
  /// Whether the network computes in Double.
  public var inDouble = false
  /// Members of the team, and threads of OpenBLAS in the unfused variant; nil: the team is chosen as by
  /// `Sequential.compile`, OpenBLAS has the most members that it may have.
  public var threads: Int?
  /// Seconds of measuring each of Lamina's and the unfused step; the naive one gets one at most.
  public var seconds = 3.0
  /// Images that batches are drawn from; fewer where a step is so slow that an epoch of them would take too long.
  public var images = 60_000
  /// Where the images come from; nil: noise, of which no pixel is left out.
  public var data: DataSource?

  /// The step of 784-128-64-10 with batch normalization after ReLU and Adam at batch 32.
  public init() {}

  /// All widths, inputs to classes.
  var widths: [Int] { [inputs] + recipe.hiddenWidths + [classes] }
  /// The number of weights in kernels.
  var kernelWeights: Int { zip(widths, widths.dropFirst()).reduce(0) { $0 + $1.0 * $1.1 } }
  /// Flops of the products of a step: 2 per weight forward and 4 backward, less the gradient of the data, which nobody
  /// asks for.
  var flops: Double { Double(batchSize) * Double(6 * kernelWeights - 2 * widths[0] * widths[1]) }

  /// The case, without the precision where it is Float.
  var name: String {
    let network = widths.map(String.init).joined(separator: "-")
    return "\(network) \(recipe.activation.kind), bn \(recipe.normalization.rawValue), batch \(batchSize)"
      + (data.map { ", \($0.name)" } ?? "") + (inDouble ? ", float64" : "")
      + (nonFinite == .ignore ? "" : ", non-finite \(nonFinite.rawValue)")
  }

  /// The rows of the variants in `suites.variants`.
  ///
  /// The precision is no generic parameter, so that the plain code is specialized here whoever calls.
  ///
  /// - Throws: `ModelError` where the network cannot be built or trained.
  func rows(_ suites: BenchmarkSuites) throws -> [BenchmarkRow] {
    if inDouble { try rows(suites, as: Double.self) } else { try rows(suites, as: Float.self) }
  }

  private func rows<Scalar: NetworkScalar>(_ suites: BenchmarkSuites, as type: Scalar.Type) throws -> [BenchmarkRow] {
    let model: Sequential<Scalar> = try makeModel(nonFinite, threads: threads)
    let most = try threads ?? ThreadRequest(nil).mostMembers
    _ = try model.plan(samples: batchSize)
    let team = model.teamSize ?? 1
    let data = try loadImages(max(images, batchSize))
    let check = try check(model, data, suites)
    func peak(_ threads: Int) throws -> Double {
      try ScratchMemory.scope {
        try TeamRates.peak(as: Scalar.self, threads: threads, seconds: min(seconds / 10, 0.05))
      }
    }
    var peaks: [Int: Double] = [:]
    for threads in Set([1, team, most]) { peaks[threads] = try peak(threads) }

    func row(_ variant: BenchmarkVariant, threads: Int, _ timing: Timing, error: Double) -> BenchmarkRow {
      var row = BenchmarkRow(
        suite: "step", name: name, variant: variant.rawValue, threads: threads, timing: timing, maxError: error,
        bound: check.bound)
      row.imagesPerSecond = Double(batchSize) / timing.median * 1e6
      row.gflops = flops / timing.median * 1e-3
      row.fractionOfBound = flops / timing.median * 1e-3 / (peaks[threads] ?? .nan)
      row.flopsPerByte = flops / Double(bytes(of: Scalar.self))
      return row
    }
    var rows: [BenchmarkRow] = []
    if suites.wants(.naive) {
      let predicted = check.naiveSecondsPerImage * Double(batchSize)
      if predicted > BenchmarkSuites.longestNaiveRun {
        suites.leftOut("step", name, seconds: predicted)
      } else {
        let timing = try plainTiming(.textbook, model, data, seconds: min(seconds, 1))
        rows.append(row(.naive, threads: 1, timing, error: check.naive))
      }
    }
    if suites.wants(.lamina) {
      rows.append(row(.lamina, threads: team, try laminaTiming(model, data), error: check.lamina))
    }
    if suites.wants(.unfused) {
      let timing = try UnfusedPasses<Scalar>.withBLASThreads(most) {
        try plainTiming(.unfused, model, data, seconds: seconds)
      }
      rows.append(row(.unfused, threads: most, timing, error: check.unfused))
    }
    return rows
  }

  /// Bytes that a step moves at least once where nothing stays in a cache: each weight with its moments in and out, the
  /// batch, and each layer's outputs and their gradients written and read.
  private func bytes<Scalar: NetworkScalar>(of type: Scalar.Type) -> Int {
    let weights = 2 * (1 + optimizer.updateRule.stateVectors) * kernelWeights
    let activations = 4 * widths.dropFirst().reduce(0, +) + 2 * inputs
    return (weights + batchSize * activations) * MemoryLayout<Scalar>.stride
  }

  private func makeModel<Scalar: NetworkScalar>(
    _ policy: NonFinitePolicy, threads: Int?
  ) throws -> Sequential<Scalar> {
    let model = Sequential<Scalar>(layers: recipe.layers(classes: classes))
    try model.compile(
      optimizer: optimizer, loss: .sparseCategoricalCrossEntropy(), threads: threads, nonFinite: policy)
    try model.build(inputShape: [inputs])
    return model
  }

  /// Lamina's step under each policy for steps that are not finite, in turn, by a team of one size.
  ///
  /// - Throws: `ModelError` where the network cannot be built or trained.
  func policyRows(_ suites: BenchmarkSuites) throws -> [BenchmarkRow] {
    if inDouble { try policyRows(suites, as: Double.self) } else { try policyRows(suites, as: Float.self) }
  }

  private func policyRows<Scalar: NetworkScalar>(
    _ suites: BenchmarkSuites, as type: Scalar.Type
  ) throws -> [BenchmarkRow] {
    let first: Sequential<Scalar> = try makeModel(.ignore, threads: threads)
    _ = try first.plan(samples: batchSize)
    let team = first.teamSize ?? 1
    let models = try [first] + [.throw, .rollBack].map { try makeModel($0, threads: team) }
    let data = try loadImages(max(images, batchSize))
    var laminaAlone = suites
    laminaAlone.variants = [.lamina]
    let checks = try models.map { try check($0, data, laminaAlone) }
    let timings = try laminaTimings(models, data)
    return zip([NonFinitePolicy.ignore, .throw, .rollBack], zip(checks, timings)).map { policy, result in
      let (check, timing) = result
      let price = policy == .ignore ? "" : String(format: " %.2f× ignore", timing.median / timings[0].median)
      var row = BenchmarkRow(
        suite: "step", name: "\(name), non-finite \(policy.rawValue)\(price)", variant: "lamina", threads: team,
        timing: timing, maxError: check.lamina, bound: check.bound)
      row.imagesPerSecond = Double(batchSize) / timing.median * 1e6
      row.gflops = flops / timing.median * 1e-3
      return row
    }
  }

  // MARK: Timing

  /// An epoch is one measurement: its time over its steps.
  private func laminaTiming<Scalar: NetworkScalar>(_ model: Sequential<Scalar>, _ data: ImageDataset) throws -> Timing {
    try laminaTimings([model], data)[0]
  }

  /// Epochs of each model in turn.
  private func laminaTimings<Scalar: NetworkScalar>(
    _ models: [Sequential<Scalar>], _ data: ImageDataset
  ) throws -> [Timing] {
    func epoch(_ model: Sequential<Scalar>, _ samples: Samples<Scalar>) throws -> (seconds: Double, perStep: Double) {
      let seconds = try model.fit(samples, epochs: 1, batchSize: batchSize, verbose: .silent).seconds
      return (seconds, seconds / Double((samples.count + batchSize - 1) / batchSize))
    }
    // Three epochs at least have to fit in.
    let few = try Samples<Scalar>(data.subset(0..<min(data.count, 3 * batchSize)))
    let perStep = try models.map { model in
      _ = try epoch(model, Samples(data.subset(0..<batchSize)))
      return try epoch(model, few).perStep
    }
    let steps = max(1, Int(seconds / 3 / (perStep.max() ?? 1)))
    let count = min(data.count, steps.multipliedReportingOverflow(by: batchSize).partialValue)
    let samples = try Samples<Scalar>(count < data.count ? data.subset(0..<count) : data)
    var times = [[Double]](repeating: [], count: models.count)
    var spent = 0.0
    for model in models { _ = try epoch(model, samples) }
    while times[0].count < 3 || (spent < seconds * Double(models.count) && times[0].count < 10_000) {
      for (index, model) in models.enumerated() {
        let time = try epoch(model, samples)
        spent += time.seconds
        times[index].append(time.perStep * 1e6)
      }
    }
    return times.map { Timing($0) }
  }

  private func plainTiming<Scalar: NetworkScalar>(
    _ style: PlainNetwork<Scalar>.Style, _ model: Sequential<Scalar>, _ data: ImageDataset, seconds: Double
  ) throws -> Timing {
    try ScratchMemory.scope {
      let network = try PlainNetwork<Scalar>(style, recipe, classes: classes, rows: batchSize, from: model)
      let rule = optimizer.updateRule
      var random = Philox(seed: 0, purpose: "benchmark order")
      var order = (0..<data.count).map { Int32($0) }
      random.shuffle(&order)
      var next = 0
      return Timing(seconds: seconds) {
        if next + batchSize > order.count { next = 0 }
        network.gather(data, order[next..<next + batchSize])
        next += batchSize
        _ = network.computeGradients()
        network.update(rule)
      }
    }
  }

  private func loadImages(_ count: Int) throws -> ImageDataset {
    guard let data else { return try randomImages(count) }
    let images = try data.load().train
    let pixels = images.height * images.width
    guard pixels == inputs, images.classCount <= classes else {
      throw ModelError.argument(
        name: "data",
        problem:
          "\(data.name) has \(pixels) pixels and \(images.classCount) classes, the network \(inputs) inputs and \(classes) outputs"
      )
    }
    guard images.count >= batchSize else {
      throw ModelError.argument(name: "data", problem: "\(data.name) has \(images.count) images, fewer than a batch")
    }
    return images.count > count ? images.subset(0..<count) : images
  }

  private func randomImages(_ count: Int) throws -> ImageDataset {
    var random = Philox(seed: 0, purpose: "benchmark images")
    var pixels = [UInt8](repeating: 0, count: count * inputs)
    pixels.withUnsafeMutableBytes { bytes in
      for start in stride(from: 0, to: bytes.count, by: 8) {
        var word = random.next()
        withUnsafeBytes(of: &word) { word in
          for offset in 0..<min(8, bytes.count - start) { bytes[start + offset] = word[offset] }
        }
      }
    }
    let labels = (0..<count).map { _ in Int32(random.nextInteger(below: classes)) }
    return try ImageDataset(
      pixels: pixels, labels: labels, height: 1, width: inputs, classNames: (0..<classes).map { "\($0)" })
  }
}
