import Kernels
import Lamina
import RandomNumbers
import ReferenceKernels

extension BenchmarkSuites {
  /// Answers of 784-128-64-10 (ReLU, batch normalization after it) by batch: textbook loops, one call of BLAS for each
  /// product with a pass for each operation, and a predictor.
  ///
  /// The inputs are pixels, bytes over 255, or normally distributed: a predictor multiplies pixels as bytes where the CPU
  /// can. With `data` the pixels are those of its test images. BLAS and the predictor have as many threads as there are
  /// processors, at most 8.
  ///
  /// Last comes a wide network: few samples, for which its weights are what takes the time (a team shares their
  /// columns), and many.
  ///
  /// - Throws: `DatasetError` where there are no such images, `ModelError` where they are of another size.
  public func inference() throws {
    let images = try data.map { try $0.load().test }
    if let images, images.height * images.width != 784 {
      throw ModelError.argument(name: "data", problem: "must have images of 28×28 pixels")
    }
    let widths = [784, 128, 64, 10]
    for batch in isQuick ? [1, 32, 256] : [1, 8, 32, 256, 10_000] {
      try inference(widths, batch, images.map { .images($0) } ?? .pixels, as: Float.self)
      try inference(widths, batch, .normal, as: Float.self)
    }
    try inference(widths, 32, .normal, as: Double.self)
    for batch in [1, 8, 256] { try inference([784, 1024, 1024, 1024, 10], batch, .normal, as: Float.self) }
  }

  private enum InferenceInputs {
    case pixels
    case images(ImageDataset)
    case normal
  }

  private func name(of inputs: InferenceInputs) -> String {
    switch inputs {
    case .pixels: "pixels"
    case .images: data?.name ?? "images"
    case .normal: "normal"
    }
  }

  private func inference<Scalar: NetworkScalar>(
    _ widths: [Int], _ batch: Int, _ inputs: InferenceInputs, as type: Scalar.Type
  ) throws {
    let inputsName = name(of: inputs)
    let shape = widths.map(String.init).joined(separator: "-")
    let kernels = try Scalar.kernels()
    let threads = team
    let model = try InferenceNetwork<Scalar>.model(widths)
    let predictor = try model.predictor(threads: threads)
    BLAS.prepare()
    try ScratchMemory.scope {
      let x: ScratchMatrix<Scalar> =
        switch inputs {
        case .pixels:
          ScratchMatrix(batch, widths[0]) { row, column in Double((row &* 31 &+ column &* 17) % 256) / 255 }
        case .images(let images):
          images.pixels.withUnsafeBufferPointer { pixels in
            ScratchMatrix(batch, widths[0]) { Double(pixels[$0 % images.count * widths[0] + $1]) / 255 }
          }
        case .normal: ScratchMatrix<Float>(normal: batch, widths[0], seed: 5).converted(to: Scalar.self)
        }
      let network = try InferenceNetwork<Scalar>(widths, rows: batch, from: model)
      // The oracle takes the first rows; all are computed alike.
      let checked = min(batch, 256)
      let oracle = try InferenceNetwork<Double>(widths, rows: checked, from: model)
      oracle.runNaive(x.rows(checked).converted(to: Double.self).view)
      let flops = zip(widths, widths.dropFirst()).reduce(0) { $0 + 2 * $1.0 * $1.1 } * batch
      let peak = MachineRates.peak(kernels.measurement, seconds: seconds / 4)

      func row(_ variant: String, threads: Int, _ work: () throws -> Void) rethrows -> BenchmarkRow {
        try work()
        let timing = Timing(seconds: seconds) { try? work() }
        let error = network.output.rows(checked).largestDifference(from: oracle.output) / oracle.output.largest
        // A rounding for each term of each sum on the way; deviations of about 1 magnify them by less than 8.
        var row = BenchmarkRow(
          suite: "inference",
          name: "\(shape) relu, bn after, batch \(batch), \(inputsName), \(Scalar.precisionName)",
          variant: variant, threads: threads, timing: timing, maxError: error,
          bound: 8 * Double(widths.reduce(0, +)) * Double(Scalar.ulpOfOne))
        row.imagesPerSecond = Double(batch) / timing.median * 1e6
        row.gflops = Double(flops) / timing.median * 1e-3
        row.fractionOfBound = Double(flops) / timing.median * 1e-3 / (peak * Double(threads))
        return row
      }
      let naive = row("naive", threads: 1) { network.runNaive(x.view) }
      let unfused = UnfusedPasses<Scalar>.withBLASThreads(threads) {
        row("unfused", threads: threads) { network.runUnfused(x.view) }
      }
      // Made before: in generic code their types are looked up at run time, which callers of one precision do not pay.
      let (inputs, outputs) = (UnsafeBufferPointer(x.elements), network.output.elements)
      // It finds out in its first calls whether a team answers them sooner, while BLAS's threads still wait for more.
      _ = Timing(seconds: 0.1) { try? predictor.predict(inputs, into: outputs) }
      let lamina = try row("lamina", threads: threads) { try predictor.predict(inputs, into: outputs) }
      try report(variants: [naive, unfused, lamina])
    }
  }
}

/// A dense classifier with batch normalization after each ReLU, answering by textbook loops or by BLAS and plain passes.
private struct InferenceNetwork<Scalar: NetworkScalar> {
  private struct Layer {
    let kernel, bias, output: ScratchMatrix<Scalar>
    /// γ/√(σ² + ε), and μ, β, γ and 1/√(σ² + ε); nil for the last layer.
    let mean, inverse, gamma, beta: ScratchMatrix<Scalar>?
  }

  private let layers: [Layer]
  var output: ScratchMatrix<Scalar> { layers[layers.count - 1].output }

  /// A model with drawn running statistics.
  static func model(_ widths: [Int]) throws -> Sequential<Scalar> {
    var layers: [any Lamina.Layer] = []
    for width in widths.dropFirst().dropLast() { layers += [Dense(width, activation: .relu), BatchNormalization()] }
    let model = Sequential<Scalar>(seed: 1, layers: layers + [Dense(widths[widths.count - 1])])
    try model.build(inputShape: [widths[0]])
    var random = Philox(seed: 9, stream: 0)
    for parameter in model.parameters where parameter.name.contains("moving") {
      let isMean = parameter.name.hasSuffix("mean")
      try model.setParameter(
        parameter.name,
        to: Tensor(shape: parameter.shape) { _ in
          let normal = random.nextNormal()
          return Scalar(Float(isMean ? normal : 0.5 + normal * normal))
        })
    }
    return model
  }

  init<Other>(_ widths: [Int], rows: Int, from model: Sequential<Other>) throws {
    func matrix(_ name: String) throws -> ScratchMatrix<Scalar> {
      let tensor = try model.parameter(name)
      let (columns, scalars) = (tensor.shape[tensor.rank - 1], tensor.scalars)
      return ScratchMatrix(tensor.count / columns, columns) { Double(scalars[$0 * columns + $1]) }
    }
    layers = try (0..<widths.count - 1).map { index in
      let suffix = index == 0 ? "" : "_\(index)"
      let isLast = index == widths.count - 2
      let normalization = "batch_normalization\(suffix)"
      let variance = isLast ? nil : try matrix("\(normalization).moving_variance")
      return Layer(
        kernel: try matrix("dense\(suffix).kernel"), bias: try matrix("dense\(suffix).bias"),
        output: ScratchMatrix(rows, widths[index + 1]),
        mean: isLast ? nil : try matrix("\(normalization).moving_mean"),
        inverse: variance.map { variance in
          ScratchMatrix(1, variance.count) { _, column in
            1 / (Double(variance[0, column]) + BatchNormalization().epsilon).squareRoot()
          }
        },
        gamma: isLast ? nil : try matrix("\(normalization).gamma"),
        beta: isLast ? nil : try matrix("\(normalization).beta"))
    }
  }

  func runNaive(_ x: MatrixView<Scalar>) {
    var input = x
    for layer in layers {
      let y = layer.output.view
      ReferenceKernels.multiply(input, layer.kernel.view, into: y)
      ReferenceKernels.activate(
        y, bias: layer.bias.pointer, into: y, kind: layer.mean == nil ? .linear : .relu, alpha: 0)
      if let mean = layer.mean, let inverse = layer.inverse {
        ReferenceKernels.normalize(
          y, mean: mean.pointer, inverseDeviation: inverse.pointer, gamma: layer.gamma?.pointer,
          beta: layer.beta?.pointer, into: y, relu: false)
      }
      input = y
    }
  }

  /// One call of BLAS for each product, then a pass for each operation.
  func runUnfused(_ x: MatrixView<Scalar>) {
    var input = x
    for layer in layers {
      let y = layer.output.view
      Scalar.unsafeMultiply(
        transposeA: false, transposeB: false, m: y.rows, n: y.columns, k: input.columns, alpha: 1, input.base,
        input.stride, layer.kernel.pointer, y.columns, beta: 0, y.base, y.stride)
      let (to, bias) = (y.base, layer.bias.pointer)
      Self.forEach(y) { to[$0] += bias[$1] }
      if let mean = layer.mean?.pointer, let inverse = layer.inverse?.pointer, let gamma = layer.gamma?.pointer,
        let beta = layer.beta?.pointer
      {
        Self.forEach(y) { element, _ in to[element] = max(to[element], 0) }
        Self.forEach(y) { to[$0] = (to[$0] - mean[$1]) * inverse[$1] }
        Self.forEach(y) { to[$0] = to[$0] * gamma[$1] + beta[$1] }
      }
      input = y
    }
  }

  /// Calls `body` with each element's place and column; inlined, so that it is a plain loop.
  @inline(__always)
  private static func forEach(_ y: MatrixView<Scalar>, _ body: (Int, Int) -> Void) {
    for row in 0..<y.rows {
      for column in 0..<y.columns { body(row &* y.stride &+ column, column) }
    }
  }
}

extension ScratchMatrix {
  /// The first `count` rows, copied.
  fileprivate func rows(_ count: Int) -> ScratchMatrix {
    ScratchMatrix(count, view.columns) { Double(self[$0, $1]) }
  }
}
