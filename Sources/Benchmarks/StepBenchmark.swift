import Foundation
import Kernels
import Lamina
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
  /// Members of the team; nil: chosen as `Sequential.compile` does.
  public var threads: Int?
  /// Seconds of measuring Lamina's step; the naive one gets as many at most.
  public var seconds = 3.0
  /// Images that batches are drawn from.
  public var images = 60_000

  /// The step of 784-128-64-10 with batch normalization after ReLU and Adam at batch 32.
  public init() {}

  /// Hands the naive and Lamina's row to `report`.
  ///
  /// The precision is no generic parameter, so that the naive loops are specialized here whoever calls.
  ///
  /// - Throws: `ModelError` where the network cannot be built or trained.
  public func run(inDouble: Bool, _ report: (BenchmarkRow) throws -> Void) throws {
    if inDouble { try run(as: Double.self, report) } else { try run(as: Float.self, report) }
  }

  private func run<Scalar: NetworkScalar>(
    as type: Scalar.Type, _ report: (BenchmarkRow) throws -> Void
  ) throws {
    let data = try randomImages(max(images, batchSize))
    let samples = try Samples<Scalar>(data)
    let model = Sequential<Scalar>(layers: recipe.layers(classes: classes))
    try model.compile(optimizer: optimizer, loss: .sparseCategoricalCrossEntropy(), threads: threads)
    try model.build(inputShape: [inputs])

    let (error, naiveError, bound) = try checkedErrors(model, data)
    let naive = try ScratchMemory.scope { try naiveTiming(model, data) }
    var naiveRow = row("naive", threads: 1, naive, Scalar.self, error: naiveError, bound: bound)
    naiveRow.speedupOverNaive = 1
    try report(naiveRow)

    // An epoch is one measurement: its time over its steps.
    let steps = (data.count + batchSize - 1) / batchSize
    var times: [Double] = []
    var spent = 0.0
    try model.fit(samples, epochs: 1, batchSize: batchSize, verbose: .silent)
    while times.count < 3 || spent < seconds {
      let history = try model.fit(samples, epochs: 1, batchSize: batchSize, verbose: .silent)
      spent += history.seconds
      times.append(history.seconds * 1e6 / Double(steps))
    }
    var row = row("lamina", threads: model.teamSize ?? 1, Timing(times), Scalar.self, error: error, bound: bound)
    row.speedupOverNaive = naive.median / row.medianMicroseconds
    try report(row)
  }

  private func row<Scalar: NetworkScalar>(
    _ variant: String, threads: Int, _ timing: Timing, _ type: Scalar.Type, error: Double, bound: Double
  ) -> BenchmarkRow {
    let widths = ([inputs] + recipe.hiddenWidths + [classes]).map(String.init).joined(separator: "-")
    let name = "\(widths) \(recipe.activation.kind), bn \(recipe.normalization.rawValue), batch \(batchSize)"
    var row = BenchmarkRow(
      suite: "step", name: Scalar.self == Float.self ? name : "\(name), \(Scalar.precisionName)", variant: variant,
      threads: threads, timing: timing, maxError: error, bound: bound)
    row.imagesPerSecond = Double(batchSize) / timing.median * 1e6
    // 2 flops per weight forward and 4 backward, less the gradient of the data, which nobody asks for.
    let shapes = zip([inputs] + recipe.hiddenWidths, recipe.hiddenWidths + [classes]).map { $0 * $1 }
    let weights = Double(shapes.reduce(0, +) * 6 - shapes[0] * 2)
    row.gflops = weights * Double(batchSize) / timing.median * 1e-3
    return row
  }

  // MARK: Correctness

  /// The largest error of loss and gradients, relative to the largest gradient of each parameter, of Lamina's step and
  /// of the naive one, against the naive one in Double, and the bound for them.
  private func checkedErrors<Scalar: NetworkScalar>(
    _ model: Sequential<Scalar>, _ data: ImageDataset
  ) throws -> (error: Double, naiveError: Double, bound: Double) {
    let rows = min(batchSize, 32)
    // The roundings on the way of a number through forward and backward pass: one for each term of each sum. Dividing
    // by the deviation of a feature magnifies them, by less than 8 for random images; the others do not.
    let widths = [inputs] + recipe.hiddenWidths + [classes]
    let bound = 8 * Double(2 * widths.reduce(0, +) + 3 * rows * (widths.count - 1)) * Double(Scalar.ulpOfOne)
    // Inputs of an activation that this precision could put on the other side of its kink make another gradient, not a
    // wrong one: such a batch is passed over.
    let margin = 256 * Double(Scalar.ulpOfOne)
    return try ScratchMemory.scope {
      let oracle = try NaiveNetwork<Double>(recipe, classes: classes, rows: rows, from: model)
      let naive = try NaiveNetwork<Scalar>(recipe, classes: classes, rows: rows, from: model)
      var start = 0
      while true {
        let batch = data.subset(start..<start + rows)
        let exactLoss = gradients(oracle, batch)
        start += rows
        if oracle.leastActivationInput < margin, start + rows <= min(data.count, 100 * rows) { continue }
        let naiveLoss = gradients(naive, batch)
        let loss = try model.computeGradients(Samples<Scalar>(batch)).loss
        var error = abs(loss - exactLoss) / exactLoss
        var naiveError = abs(naiveLoss - exactLoss) / exactLoss
        for (parameter, other) in zip(oracle.parameters, naive.parameters) {
          let largest = parameter.gradient.largest
          guard largest > 0 else { continue }
          let gradient = try model.gradient(parameter.name).scalars
          for index in gradient.indices {
            let difference = abs(Double(gradient[index]) - parameter.gradient.pointer[index]) / largest
            error = difference.isNaN ? .infinity : max(error, difference)
          }
          naiveError = max(naiveError, other.gradient.largestDifference(from: parameter.gradient) / largest)
        }
        return (error, naiveError, bound)
      }
    }
  }

  private func gradients<Scalar>(_ network: NaiveNetwork<Scalar>, _ batch: ImageDataset) -> Double {
    network.setInputs { Double(batch.pixels[$0 * inputs + $1]) * (1 / 255.0) }
    return network.computeGradients(labels: batch.labels)
  }

  private func naiveTiming<Scalar: NetworkScalar>(
    _ model: Sequential<Scalar>, _ data: ImageDataset
  ) throws -> Timing {
    let network = try NaiveNetwork<Scalar>(recipe, classes: classes, rows: batchSize, from: model)
    let rule = optimizer.updateRule
    let batch = data.subset(0..<batchSize)
    return Timing(seconds: min(seconds, 1)) {
      _ = gradients(network, batch)
      network.update(rule)
    }
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
