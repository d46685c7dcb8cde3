import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing
import Training

/// Whole networks in Float and Double against plain loops in Double, over awkward widths and batches.
///
/// The bound of each tensor is sixteen times the error that the same plain loops make in Float (scaled by the ratio of
/// the ulps for Double; errors are sums of roundings of either sign, so that two ways of computing the same differ by a
/// small factor), and 4·k ulps of the tensor's largest element, with k the longest sum in the network.
@Suite("Networks against plain loops")
struct NetworkParityTests {
  static let widths = [1, 7, 15, 16, 17, 31, 33, 65, 130]
  static let batches = [1, 2, 5, 32, 33]

  static let epsilon = 1e-3

  @Test("Forward and backward", arguments: widths, batches)
  func parity(width: Int, batch: Int) throws {
    let start = try #require(Self.widths.firstIndex(of: width))
    func other(_ step: Int) -> Int { Self.widths[(start + step) % Self.widths.count] }
    let shape = [other(4), width, other(2), other(5)]
    guard batch > 1 else {
      // A single row has no variance.
      return try check(shape, [[.sigmoid, .relu], [.tanh], []], batch: batch)
    }
    try check(shape, [[nil, .relu], [.relu, nil], []], batch: batch)
    try check(shape, [[nil, .sigmoid], [.tanh], [nil]], batch: batch)
  }

  /// Widths that leave a last tile more than its share where boundaries are rounded.
  @Test("Many tiles in a layer that hands a gradient on", arguments: [241, 245, 370, 500], [3, 16, 40])
  func manyTiles(width: Int, batch: Int) throws {
    try check([9, 33, width, 5], [[nil, .relu], [.relu, nil], []], batch: batch)
  }

  /// Widths that nobody thought of.
  @Test("Drawn shapes", arguments: 0..<24)
  func drawnShapes(seed: UInt64) throws {
    var generator = Philox(seed: seed, purpose: "drawn shapes")
    func below(_ limit: Int) -> Int { Int(generator.nextInteger(below: limit)) }
    func width() -> Int { 1 + below([20, 130, 300, 600][below(4)]) }
    let shape = [1 + below(400), width(), width(), 2 + below(40)]
    try check(shape, [[nil, .sigmoid], [.tanh, nil], []], batch: 3 + below(24))
  }

  /// Widths and batches for which factors are laid out before they are multiplied, split where the CPU can, around its
  /// tiles; and for which two members list what the ReLU leaves, of one long sum and of two.
  @Test(
    "Wide layers",
    arguments: [
      [256, 256, 264, 96], [300, 270, 264, 100], [257, 500, 264, 130], [260, 300, 264, 200], [140, 260, 520, 70],
      [130, 600, 530, 60],
    ])
  func wide(shape: [Int]) throws {
    try check([shape[0], shape[1], shape[2], 5], [[nil, .relu], [.relu, nil], []], batch: shape[3])
  }

  /// Gradients of kernels from lists of what a ReLU leaves of those of the outputs, in tiles of 48 to 64 columns and of two
  /// members.
  @Test("Wide dense inputs", arguments: [[130, 270, 140, 70], [140, 130, 300, 64], [200, 50, 130, 130]])
  func wideDenseInputs(shape: [Int]) throws {
    try check([shape[0], shape[1], shape[2], 5], [[.relu, nil], [.relu], []], batch: shape[3])
  }

  /// Images with margins, and one column of many for each sample.
  @Test("Inputs that are mostly zero", arguments: [[200, 70, 9], [784, 128, 32], [130, 65, 40]], [false, true])
  func mostlyZero(shape: [Int], isOneHot: Bool) throws {
    try check([shape[0], shape[1], 24, 5], [[nil, .relu], [.relu, nil], []], batch: shape[2]) { row, column in
      isOneHot ? column == row * 37 % shape[0] : column > shape[0] / 4 && column < shape[0] * 2 / 3
    }
  }

  /// `operations` of each layer: an activation, or nil for a normalization; inputs are 0 where `keeps` says no.
  private func check(
    _ shape: [Int], _ operations: [[ElementwiseActivation?]], batch: Int,
    keeps: (_ row: Int, _ column: Int) -> Bool = { _, _ in true }
  ) throws {
    var generator = Philox(seed: 11, purpose: "parity", index: UInt64(shape[1] * 100 + batch))
    func random(_ count: Int, _ scale: Double, _ centre: Double = 0) -> [Float] {
      (0..<count).map { _ in Float(centre + scale * generator.nextNormal()) }
    }
    var layers: [NaiveNetwork<Float>.Layer] = []
    for (index, kinds) in operations.enumerated() {
      let (inputs, units) = (shape[index], shape[index + 1])
      layers.append(
        NaiveNetwork<Float>.Layer(
          inputs: inputs, units: units, kernel: random(inputs * units, 1 / Double(inputs).squareRoot()),
          bias: random(units, 0.3),
          operations: kinds.map { $0.map { .activation($0, alpha: 0) } ?? .normalization(epsilon: Self.epsilon) },
          gammas: kinds.map { $0 == nil ? random(units, 0.2, 1) : [] },
          betas: kinds.map { $0 == nil ? random(units, 0.2) : [] }))
    }
    let x = random(batch * shape[0], 1).enumerated().map { index, value in
      keeps(index / shape[0], index % shape[0]) ? value : 0
    }
    let labels = (0..<batch).map { _ in Int32(generator.nextInteger(below: shape[shape.count - 1])) }
    let single = NaiveNetwork(layers: layers)
    let double = NaiveNetwork<Double>(layers: layers.map { $0.widened() })
    let naive = single.step(x, labels: labels, rows: batch)
    let oracle = double.step(x.map(Double.init), labels: labels, rows: batch)
    let comparison = Comparison(
      oracle: oracle, naive: naive, longest: max(shape.max() ?? 1, batch), what: "\(shape), batch \(batch)")
    try comparison.run(Float.self, layers, x, labels)
    try comparison.run(Double.self, layers, x, labels)
  }

  /// Holds an engine's results against the oracle's.
  struct Comparison {
    let oracle: NaiveNetwork<Double>.Gradients
    let naive: NaiveNetwork<Float>.Gradients
    let longest: Int
    let what: String

    func run<Scalar: NetworkScalar>(
      _: Scalar.Type, _ layers: [NaiveNetwork<Float>.Layer], _ x: [Float], _ labels: [Int32]
    ) throws {
      let rows = labels.count
      let model = Sequential<Scalar>(layers: engineLayers(layers))
      try model.compile(
        optimizer: SGD(), loss: .sparseCategoricalCrossEntropy(fromLogits: true), threads: 2)
      try model.build(inputShape: [layers[0].inputs])
      var normalizations: [String] = []
      for (index, layer) in layers.enumerated() {
        func set(_ name: String, _ shape: [Int], _ values: [Float]) throws {
          try model.setParameter(name, to: Tensor(shape: shape) { Scalar(values[$0]) })
        }
        try set("dense\(index).kernel", [layer.inputs, layer.units], layer.kernel)
        try set("dense\(index).bias", [layer.units], layer.bias)
        for (number, gamma) in layer.gammas.enumerated() where !gamma.isEmpty {
          try set("bn\(index)\(number).gamma", [layer.units], gamma)
          try set("bn\(index)\(number).beta", [layer.units], layer.betas[number])
          normalizations.append("bn\(index)\(number)")
        }
      }
      let inputs = Tensor<Scalar>(shape: [rows, layers[0].inputs]) { Scalar(x[$0]) }
      let plan = try model.plan(samples: rows)
      let loss = try model.computeGradients(Samples(inputs, labels: labels.map(Int.init))).loss
      let view = plan.output(samples: rows)
      let logits = (0..<rows * view.columns).map { view[$0 / view.columns, $0 % view.columns] }
      expect(logits, oracle.logits, naive.logits, "logits")
      expect([Scalar(loss)], [oracle.loss], [Float(naive.loss)], "loss")
      for index in layers.indices {
        let kernel = try model.gradient("dense\(index).kernel").scalars
        expect(kernel, oracle.kernels[index], naive.kernels[index], "dense\(index).kernel")
        // A bias before a normalization has a gradient of rounding errors only: of the kernel's rounding, then.
        let scale = oracle.kernels[index].map(abs).max() ?? 0
        let bias = try model.gradient("dense\(index).bias").scalars
        expect(bias, oracle.biases[index], naive.biases[index], scale: scale, "dense\(index).bias")
      }
      for (index, name) in normalizations.enumerated() {
        try expect(model.gradient("\(name).gamma").scalars, oracle.gammas[index], naive.gammas[index], "\(name).gamma")
        try expect(model.gradient("\(name).beta").scalars, oracle.betas[index], naive.betas[index], "\(name).beta")
        // With momentum 0 the moving statistics are the batch's.
        try expect(
          model.parameter("\(name).moving_mean").scalars, oracle.means[index], naive.means[index], "\(name).mean")
        try expect(
          model.parameter("\(name).moving_variance").scalars, oracle.variances[index], naive.variances[index],
          "\(name).variance")
      }
    }

    private func engineLayers(_ layers: [NaiveNetwork<Float>.Layer]) -> [any NeuralNetworks.Layer] {
      var result: [any NeuralNetworks.Layer] = []
      for (index, layer) in layers.enumerated() {
        result.append(Dense(layer.units, name: "dense\(index)"))
        for (number, operation) in layer.operations.enumerated() {
          switch operation {
          case .normalization(let epsilon):
            result.append(BatchNormalization(momentum: .weightOfOld(0), epsilon: epsilon, name: "bn\(index)\(number)"))
          case .activation(let kind, _):
            result.append(kind == .relu ? Activation.relu : kind == .tanh ? Activation.tanh : Activation.sigmoid)
          }
        }
      }
      return result
    }

    private func expect<Scalar: NetworkScalar>(
      _ values: [Scalar], _ oracle: [Double], _ naive: [Float], scale: Double = 0, _ name: String
    ) {
      #expect(values.count == oracle.count)
      let ratio = Double(Scalar.ulpOfOne) / Double(Float.ulpOfOne)
      let naiveError = zip(naive, oracle).map { abs(Double($0) - $1) }.max() ?? 0
      let largest = max(oracle.map(abs).max() ?? 0, scale)
      let bound = 16 * naiveError * ratio + 4 * Double(longest) * Double(Scalar.ulpOfOne) * largest
      let error = zip(values, oracle).map { abs(Double($0) - $1) }.max() ?? 0
      #expect(error <= bound, "\(name), \(Scalar.self), \(what): naive Float is off by \(naiveError)")
    }
  }
}

extension NaiveNetwork.Layer where T == Float {
  /// The same layer in Double.
  fileprivate func widened() -> NaiveNetwork<Double>.Layer {
    NaiveNetwork<Double>.Layer(
      inputs: inputs, units: units, kernel: kernel.map(Double.init), bias: bias.map(Double.init),
      operations: operations.map { operation in
        switch operation {
        case .activation(let kind, let alpha): .activation(kind, alpha: alpha)
        case .normalization(let epsilon): .normalization(epsilon: epsilon)
        }
      }, gammas: gammas.map { $0.map(Double.init) }, betas: betas.map { $0.map(Double.init) })
  }
}
