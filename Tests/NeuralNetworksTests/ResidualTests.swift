import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing
import Training

/// Blocks with a shortcut: gradients, threads, inference, names and errors.
@Suite("Residual blocks")
struct ResidualTests {
  static let activations: [Activation] = [.linear, .relu, .gelu, .tanh, .leakyReLU(), .softmax]

  private func check(
    _ layers: [any Layer], _ shape: [Int] = [5], rows: [Int] = [2, 7], loss: Loss = .meanSquaredError,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    for rows in rows {
      try GradientCheck(layers: layers, inputShape: shape, rows: rows, loss: loss)
        .run(sourceLocation: sourceLocation)
    }
  }

  // MARK: Finite differences

  @Test("Gradients: ends in a normalization, or in a product with and without bias", arguments: activations)
  func ends(activation: Activation) throws {
    for last: [any Layer] in [
      [Dense(5, useBias: false), BatchNormalization()], [Dense(5), BatchNormalization(center: false, scale: false)],
      [Dense(5)], [Dense(5, useBias: false)], [Dense(5, activation: .relu)], [Dense(5, activation: .gelu)],
      [Dense(5, activation: .relu), BatchNormalization()], [Dense(5), BatchNormalization(), Activation.relu],
    ] {
      try check([Dense(5), Residual(activation: activation, layers: last), Dense(2)], [4], rows: [7])
      // The shortcut is the network's input, and the block is the last layer.
      try check([Residual(activation: activation, layers: last)], rows: [7])
    }
  }

  @Test("Gradients: two products in a block, one row where there is no normalization")
  func twoProducts() throws {
    let block = Residual(activation: .relu) {
      Dense(9, useBias: false)
      BatchNormalization()
      Activation.relu
      Dense(5, useBias: false)
      BatchNormalization()
    }
    try check([Dense(5, activation: .relu), block, Dense(3)], rows: [2, 7, 33])
    try check([Dense(5), Residual(activation: .relu) { Dense(5, activation: .tanh) }, Dense(3)], rows: [1])
  }

  @Test("Gradients: blocks after each other, within each other, first and last")
  func chains() throws {
    let small = Residual(activation: .relu) {
      Dense(5, useBias: false)
      BatchNormalization()
    }
    let plain = Residual { Dense(5) }
    for layers: [any Layer] in [
      [small, small, small],
      [Dense(5), BatchNormalization(), small, small, Dense(2)],
      [plain, plain, BatchNormalization(), Activation.relu, plain],
      [Dense(5), Residual(layers: [small]), Dense(2)],
      [Dense(5), Residual(activation: .relu, layers: [small, plain]), plain, Dense(2)],
      [Dense(5), Residual(activation: .relu, layers: [plain, small]), Dense(2)],
      [
        Dense(5),
        Residual(
          activation: .tanh, layers: [Dense(5), Residual(layers: [small, Residual(layers: [plain])]), Dense(5)]),
        Dense(2),
      ],
    ] {
      try check(layers)
    }
  }

  @Test("Gradients: blocks that begin with operations on columns")
  func columnsFirst() throws {
    for block: [any Layer] in [
      [BatchNormalization(), Activation.relu, Dense(7), BatchNormalization(), Activation.relu, Dense(5)],
      [BatchNormalization()], [Activation.relu], [Activation.gelu, BatchNormalization()], [Dropout(0.4)],
      [Dropout(0.4), Dense(5), Dropout(0.3)], [Dense(5), BatchNormalization(), Dropout(0.3)], [Flatten(), Dense(5)],
      [Dropout(0)], [],
    ] {
      let residual = Residual(activation: .relu, layers: block)
      try check([Dense(5, activation: .relu), BatchNormalization(), residual, Dense(2)])
      try check([residual, Dropout(0.2), residual, Dense(2)])
    }
  }

  @Test("Gradients: stages that one member computes whole, at either end of a block")
  func wholeStages() throws {
    for block: [any Layer] in [
      [LayerNormalization()], [Dense(5), LayerNormalization()], [LayerNormalization(), Dense(5)],
      [Activation.softmax], [Dense(5), Activation.softmax, Dense(5, activation: .softmax)],
      [ScaledSquare<Double>(), BatchNormalization()], [Dense(5), ScaledSquare<Double>()],
    ] {
      let residual = Residual(activation: .relu, layers: block)
      try check([Dense(5), residual, residual, Dense(2)])
      try check([Dense(5), LayerNormalization(), residual, Activation.softmax])
    }
    let inner = Residual(activation: .relu) {
      BatchNormalization(axis: 1)
      Dense(5)
      BatchNormalization(axis: 1)
    }
    try check([Dense(5), inner, Flatten(), Residual(layers: [Dense(15), BatchNormalization()]), Dense(2)], [3, 4])
  }

  @Test("Gradients: several tiles", arguments: [2, 33])
  func tiles(rows: Int) throws {
    for width in [47, 48, 65, 130] {
      let block = Residual(activation: .relu) {
        Dense(70, useBias: false)
        BatchNormalization()
        Activation.relu
        Dropout(0.2)
        Dense(width, useBias: false)
        BatchNormalization()
      }
      try check(
        [Dense(width, activation: .relu), block, Residual { Dense(width) }, Dense(3)], [17], rows: [rows],
        loss: .sparseCategoricalCrossEntropy(fromLogits: true))
    }
  }

  @Test("Gradients: options of the normalization that ends a block")
  func options() throws {
    let options: [BatchNormalization] = [
      BatchNormalization(virtualBatchSize: 3), BatchNormalization(convention: .pytorch),
      BatchNormalization(trackRunningStatistics: false),
      BatchNormalization(betaRegularizer: .l2(0.1), gammaRegularizer: .l1(0.05)),
    ]
    for normalization in options {
      for activation in [Activation.linear, .relu] {
        let block = Residual(activation: activation, layers: [Dense(5), normalization])
        try check([Dense(5), block, Dense(2)], rows: [7])
      }
    }
    var check = GradientCheck(
      layers: [
        Dense(5), Residual(activation: .relu, layers: [Dense(5), BatchNormalization(momentum: .weightOfOld(1))]),
        Dense(2),
      ], inputShape: [4], rows: 7, loss: .meanSquaredError)
    check.prepare = { model in
      try model.configureNormalization { $0.trainingStatistics = .running }
    }
    try check.run()
    check.prepare = { _ in }
    check.weights = [1, 0, 2, 0.5, 1, 3, 0]
    try check.run()
  }

  // MARK: Threads

  @Test("Weights have the same bits on 1, 2, 3 and 5 threads")
  func threads() throws {
    try sameBits(Float.self)
    try sameBits(Double.self)
  }

  private func sameBits<Scalar: NetworkScalar>(_: Scalar.Type) throws {
    func weights(_ threads: Int) throws -> [[Scalar]] {
      let model = Sequential<Scalar>(layers: [
        Dense(130, activation: .relu),
        Residual(activation: .relu) {
          Dense(70, useBias: false)
          BatchNormalization()
          Activation.relu
          Dropout(0.25)
          Dense(130, useBias: false)
          BatchNormalization()
        },
        Residual {
          BatchNormalization()
          Residual(activation: .relu) { Dense(130) }
        },
        Dense(10, activation: .softmax),
      ])
      try model.compile(optimizer: Adam(), loss: .sparseCategoricalCrossEntropy(), threads: threads)
      var generator = Philox(seed: 4, purpose: "residual threads")
      let inputs = Tensor<Scalar>(shape: [70, 20]) { _ in Scalar(generator.nextNormal()) }
      try model.fit(
        Samples(inputs, labels: (0..<70).map { $0 * 7 % 10 }), epochs: 4, batchSize: 32, verbose: .silent)
      let output = try model.predict(Samples(inputs)).scalars
      return try model.parameters.map { try model.parameter($0.name).scalars } + [output]
    }
    let one = try weights(1)
    #expect(one.allSatisfy { $0.allSatisfy(\.isFinite) })
    for threads in [2, 3, 5] { #expect(try weights(threads) == one, "\(threads) threads") }
  }

  // MARK: Inference

  static let blocks: [(layers: [any Layer], shape: [Int], folded: Int, remaining: Int)] = [
    (
      [
        Dense(33, useBias: false), BatchNormalization(), Activation.relu,
        Residual(activation: .relu) {
          Dense(17, useBias: false)
          BatchNormalization()
          Activation.relu
          Dense(33, useBias: false)
          BatchNormalization()
        },
        Residual(activation: .tanh) { Dense(33, activation: .gelu) }, Dense(7, activation: .softmax),
      ], [20], 3, 0
    ),
    // A normalization just ahead of a block or at its start feeds the shortcut too, or would change it.
    (
      [
        Dense(16, activation: .relu), BatchNormalization(),
        Residual {
          BatchNormalization()
          Activation.relu
          Dense(16)
        },
        BatchNormalization(), Dense(3),
      ], [9], 1, 2
    ),
    (
      [
        Residual(activation: .relu) {
          Residual {
            Dense(9, activation: .relu)
            BatchNormalization()
          }
          Residual { Dropout(0.5) }
          Dense(9)
          Residual(activation: .relu) { Activation.tanh }
          BatchNormalization()
        },
        Residual(activation: .softmax) { Activation.softmax },
      ], [9], 0, 2
    ),
    (
      [
        Dense(6), BatchNormalization(),
        Residual(activation: .relu) {
          BatchNormalization(axis: 1)
          Dense(6)
          BatchNormalization()
        },
        Flatten(),
        Residual(activation: .relu) {
          Dense(24)
          BatchNormalization()
        },
        Dense(2),
      ], [4, 5], 3, 1
    ),
  ]

  @Test("A predictor and a folded model answer as the compiled step does", arguments: blocks.indices)
  func inference(block: Int) throws {
    try inference(block, as: Float.self)
    try inference(block, as: Double.self)
  }

  private func inference<Scalar: NetworkScalar>(_ block: Int, as _: Scalar.Type) throws {
    let (layers, shape, foldedCount, remaining) = Self.blocks[block]
    let model: Sequential<Scalar> = try InferenceFixtures.model(layers, inputShape: shape)
    let folded = try model.predictor()
    let report = try #require(folded.foldingReport)
    #expect(report.foldedLayers.count == foldedCount && report.remainingLayers.count == remaining, "\(report)")
    let plain = try model.predictor(folding: .never)
    for count in [1, 3, 64, 200] {
      let inputs: Tensor<Scalar> = InferenceFixtures.inputs(count, shape)
      let expected = try InferenceFixtures.planOutputs(model, inputs)
      #expect(expected.contains { $0 != expected[0] })
      for (predictor, name) in [(folded, "folded"), (plain, "plain")] {
        let got = try predictor.predict(inputs).scalars
        #expect(InferenceFixtures.difference(got, expected) <= report.tolerance, "\(name), \(count) samples")
        // The bits of a sample do not depend on its batch.
        if count == 64 {
          let one = try predictor.predict(InferenceFixtures.inputs(1, shape)).scalars
          #expect(Array(got.prefix(one.count)) == one)
        }
      }
      let sequential = try model.predict(Samples(inputs)).scalars
      #expect(InferenceFixtures.difference(sequential, expected) <= report.tolerance)
      let foldedModel = try model.folded()
      let got = try InferenceFixtures.planOutputs(foldedModel.model, inputs)
      #expect(InferenceFixtures.difference(got, expected) <= report.tolerance)
      #expect(foldedModel.report.remainingLayers == report.remainingLayers)
    }
  }

  @Test("Bytes are scaled once, for the block and for its shortcut")
  func bytes() throws {
    let model: Sequential<Float> = try InferenceFixtures.model(
      [Residual(activation: .relu) { Dense(20) }, Dense(3)], inputShape: [20])
    let predictor = try model.predictor()
    let images = (0..<7 * 20).map { UInt8($0 * 37 % 256) }
    let expected = try predictor.predict(Tensor<Float>(shape: [7, 20]) { Float(images[$0]) / 255 }).scalars
    var got = [Float](repeating: 0, count: expected.count)
    try images.withUnsafeBufferPointer { images in
      try got.withUnsafeMutableBufferPointer { try predictor.predict(images, into: $0) }
    }
    #expect(InferenceFixtures.difference(got, expected) < 1e-6)
  }

  // MARK: Names and errors

  @Test("Names are those within the block after the block's")
  func names() throws {
    let block = Residual(activation: .relu) {
      Dense(4, useBias: false)
      BatchNormalization()
      Residual { Dense(4, name: "inner") }
      Dense(4)
    }
    let model = Sequential<Float>(layers: [Dense(4), block, block, Residual(layers: [Dense(4)], name: "last")])
    try model.build(inputShape: [3])
    let expected =
      ["dense.kernel", "dense.bias"]
      + ["residual", "residual_1"].flatMap { name in
        [
          "dense.kernel", "batch_normalization.gamma", "batch_normalization.beta", "batch_normalization.moving_mean",
          "batch_normalization.moving_variance", "residual.inner.kernel", "residual.inner.bias", "dense_1.kernel",
          "dense_1.bias",
        ].map { "\(name).\($0)" }
      } + ["last.dense.kernel", "last.dense.bias"]
    #expect(model.parameters.map(\.name) == expected)
    #expect(model.normalizationNames == ["residual.batch_normalization", "residual_1.batch_normalization"])
    try model.configureNormalization("residual_1.batch_normalization") { $0 = .frozen }
    let summary = try model.summary()
    let lines = summary.split(separator: "\n").dropFirst(2).map { $0.split(separator: " ").first ?? "" }
    #expect(
      lines.dropLast(2) == [
        "dense", "residual.dense", "residual.batch_normalization", "residual.residual.inner", "residual.residual",
        "residual.dense_1", "residual", "residual_1.dense", "residual_1.batch_normalization",
        "residual_1.residual.inner", "residual_1.residual", "residual_1.dense_1", "residual_1", "last.dense", "last",
      ])
    #expect(summary.contains("Parameters: \(model.parameterCount)"))
    let converted = try model.converted(to: .pytorch, batchSize: nil)
    #expect(converted.parameters == model.parameters)
    let inner = (converted.layers[1] as? Residual)?.layers[1] as? BatchNormalization
    #expect(inner?.runningVariance == .unbiased)
  }

  @Test("A block that changes the shape, and two layers of one name, are refused")
  func refusals() throws {
    let problem =
      "its layers make samples of shape [3] of samples of shape [4], which cannot be added; let the last of them have "
      + "4 units, or put a Dense ahead of the block that makes that shape"
    #expect(throws: ModelError.layer(name: "residual", problem: problem)) {
      try Sequential { Residual { Dense(3) } }.build(inputShape: [4])
    }
    #expect(throws: ModelError.self) { try Sequential { Residual { Flatten() } }.build(inputShape: [2, 4]) }
    #expect(throws: ModelError.duplicateName("block.a")) {
      try Sequential {
        Residual(name: "block") {
          Dense(4, name: "a")
          Dense(4, name: "a")
        }
      }.build(inputShape: [4])
    }
    #expect(throws: ModelError.duplicateName("residual.dense")) {
      try Sequential {
        Residual { Dense(4) }
        Dense(4, name: "residual.dense")
      }.build(inputShape: [4])
    }
    #expect(throws: ModelError.layer(name: "residual.dropout", problem: "the dropout rate must be in 0 ..< 1, not 2.0"))
    {
      try Sequential { Residual { Dropout(2) } }.build(inputShape: [4])
    }
  }
}
