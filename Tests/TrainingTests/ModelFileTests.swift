import Foundation
import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// Models and weights in files: back to the bit, or refused with nothing changed.
@Suite("Model files")
struct ModelFileTests {
  private func trained<Scalar: NetworkScalar>(_: Scalar.Type) throws -> Sequential<Scalar> {
    let model = try Fixtures.compiled(seed: 9, as: Scalar.self)
    try model.fit(Fixtures.clusters(count: 60), epochs: 1, verbose: .silent)
    return model
  }

  @Test("Weights and models come back to the bit, in Float and Double")
  func roundTrips() throws {
    try roundTrip(Float.self)
    try roundTrip(Double.self)
  }

  private func roundTrip<Scalar: NetworkScalar>(_: Scalar.Type) throws {
    let model = try trained(Scalar.self)
    let hash = try model.weightsSHA256()
    try Fixtures.withFolder { folder in
      let weights = folder + "/weights.safetensors"
      try model.saveWeights(to: weights)
      let other = Fixtures.network(seed: 1, as: Scalar.self)
      #expect(throws: ModelError.notBuilt) { try other.loadWeights(from: weights) }
      try other.build(inputShape: [8])
      #expect(try other.weightsSHA256() != hash)
      try other.loadWeights(from: weights)
      #expect(try other.weightsSHA256() == hash)

      let whole = folder + "/model.safetensors"
      try model.save(to: whole, metadata: ["note": "Grüße", "lamina.layers": "not mine to set"])
      let file = try ModelFile(contentsOf: whole)
      #expect(file.inputShape == [8] && file.precision == Scalar.precisionName)
      #expect(file.metadata == ["note": "Grüße"])
      #expect(file.layers == model.layers.map { LayerConfiguration($0) })
      let loaded = try file.makeModel(as: Scalar.self)
      #expect(try loaded.weightsSHA256() == hash && loaded.summary() == model.summary())
      let data = try Fixtures.clusters(count: 33, as: Scalar.self)
      #expect(try loaded.predict(data) == model.predict(data))
      // Nothing but the two files is left in the folder.
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder).count == 2)
    }
  }

  @Test("Every layer and setting survives")
  func settings() throws {
    let model = Sequential<Float>(layers: [
      Dense(4, activation: .leakyReLU(negativeSlope: 0.125), useBias: false, kernelInitializer: .orthogonal(gain: 2)),
      BatchNormalization(
        axis: 1, momentum: .weightOfOld(0.75), epsilon: 0.5, center: false, scale: false,
        movingVarianceInitializer: .constant(3), name: "norm"),
      Dense(2, biasInitializer: .uniform(low: -1, high: 2)), Activation.elu(alpha: 0.25), Activation.gelu, Dropout(0.3),
      LayerNormalization(epsilon: 0.25, center: false, name: "rows"), Flatten(name: "flat"), Activation.selu,
      Dense(1, activation: .sigmoid),
    ])
    try model.build(inputShape: [2, 3])
    try Fixtures.withFolder { folder in
      try model.save(to: folder + "/m")
      let loaded: Sequential<Float> = try ModelFile(contentsOf: folder + "/m").makeModel()
      #expect(loaded.layers.map { LayerConfiguration($0) } == model.layers.map { LayerConfiguration($0) })
      #expect(try loaded.weightsSHA256() == model.weightsSHA256())
    }
  }

  @Test("Every setting of a batch normalization survives, and a cumulative average goes on")
  func normalizationSettings() throws {
    let layers = [
      BatchNormalization(
        convention: .pytorch, affine: false, movingMeanInitializer: .constant(2), name: "pytorch"),
      BatchNormalization(trackRunningStatistics: false, virtualBatchSize: 4, name: "none"),
      BatchNormalization(
        betaRegularizer: .l1(0.5), gammaRegularizer: .l1l2(l1: 0.25, l2: 0.125), betaConstraint: .nonNegative,
        gammaConstraint: .maxNorm(3), renormalization: BatchRenormalization(rmax: .constant(2)), name: "renorm"),
      BatchNormalization(convention: .paper, gammaConstraint: .unitNorm, name: "paper"),
    ]
    let model = Sequential<Float>(layers: [Dense(70)] + layers + [Dense(3)])
    try model.compile(optimizer: SGD(), loss: .sparseCategoricalCrossEntropy(fromLogits: true))
    let data: Samples<Float> = try Fixtures.clusters(count: 20)
    try model.fit(data, batchSize: 10, verbose: .silent)
    try Fixtures.withFolder { folder in
      try model.save(to: folder + "/m")
      let loaded: Sequential<Float> = try ModelFile(contentsOf: folder + "/m").makeModel()
      #expect(loaded.layers.map { LayerConfiguration($0) } == model.layers.map { LayerConfiguration($0) })
      #expect(try loaded.weightsSHA256() == model.weightsSHA256())
      #expect(try loaded.parameter("paper.batch_count").scalars == [2])
      try loaded.compile(optimizer: SGD(), loss: .sparseCategoricalCrossEntropy(fromLogits: true))
      try loaded.trainOnBatch(data)
      try model.trainOnBatch(data)
      #expect(try loaded.weightsSHA256() == model.weightsSHA256())
      #expect(try loaded.parameter("paper.batch_count").scalars == [3])
    }
  }

  @Test("A momentum that is a plain number, as version 0.1 wrote it, weighs the old value")
  func oldMomentum() throws {
    let text = #"{"axis":-1,"momentum":0.75,"epsilon":0.5,"center":true,"scale":false}"#
    let layer = try JSONDecoder().decode(BatchNormalization.self, from: Data(text.utf8))
    #expect(layer == BatchNormalization(momentum: .weightOfOld(0.75), epsilon: 0.5, scale: false))
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(BatchNormalization.Momentum.self, from: Data(#""often""#.utf8))
    }
  }

  @Test("The other precision: Float's values are Double's, Double's are rounded to Float")
  func precisions() throws {
    let single = try trained(Float.self)
    let double = try trained(Double.self)
    try Fixtures.withFolder { folder in
      try single.save(to: folder + "/single")
      try double.save(to: folder + "/double")
      let widened = try ModelFile(contentsOf: folder + "/single").makeModel(as: Double.self)
      let narrowed = try ModelFile(contentsOf: folder + "/double").makeModel(as: Float.self)
      for name in single.parameters.map(\.name) {
        #expect(try widened.parameter(name).scalars == single.parameter(name).scalars.map(Double.init))
        #expect(try narrowed.parameter(name).scalars == double.parameter(name).scalars.map { Float($0) })
      }
    }
  }

  @Test("The file is plain safetensors: a length, JSON, little-endian rows")
  func format() throws {
    let model = try trained(Float.self)
    try Fixtures.withFolder { folder in
      try model.saveWeights(to: folder + "/w")
      let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/w")))
      let length = (0..<8).reduce(0) { $0 | Int(bytes[$1]) << (8 * $1) }
      let json = try JSONSerialization.jsonObject(with: Data(bytes[8..<8 + length]))
      let header = try #require(json as? [String: Any])
      #expect(Set(header.keys).subtracting(["__metadata__"]) == Set(model.parameters.map(\.name)))
      for parameter in model.parameters {
        let entry = try #require(header[parameter.name] as? [String: Any])
        #expect(entry["dtype"] as? String == "F32" && entry["shape"] as? [Int] == parameter.shape)
        let offsets = try #require(entry["data_offsets"] as? [Int])
        let values = stride(from: 8 + length + offsets[0], to: 8 + length + offsets[1], by: 4).map { place in
          Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[place + $1]) << (8 * UInt32($1)) })
        }
        #expect(try values == model.parameter(parameter.name).scalars)
      }
    }
  }

  @Test("Files of another model are refused, and nothing is half-loaded")
  func wrongFiles() throws {
    let model = Sequential<Float> {
      Dense(2, name: "a")
      BatchNormalization(name: "b")
    }
    try model.build(inputShape: [3])
    let hash = try model.weightsSHA256()
    let good = try model.parameters.map {
      try Safetensors.Entry(name: $0.name, shape: $0.shape, scalars: [Float](repeating: 7, count: $0.count))
    }
    func replacing(_ name: String, _ entry: Safetensors.Entry?) -> [Safetensors.Entry] {
      good.compactMap { $0.name == name ? entry : $0 }
    }
    try Fixtures.withFolder { folder in
      let path = folder + "/w"
      func expect(_ error: ModelFileError, saying word: String, _ entries: [Safetensors.Entry]) throws {
        try Safetensors(entries).write(to: path)
        #expect(throws: error) { try model.loadWeights(from: path) }
        #expect(error.description.contains(word) && error.description.contains(path))
        #expect(try model.weightsSHA256() == hash)
      }
      // b.moving_variance is the last parameter: all others have been read when it is found wrong.
      let last = "b.moving_variance"
      try expect(.missingTensor(path: path, name: last), saying: last, replacing(last, nil))
      try expect(
        .unexpectedTensor(path: path, name: "c"), saying: "no parameter c",
        good + [Safetensors.Entry(name: "c", shape: [1], scalars: [Float(1)])])
      try expect(
        .wrongShape(path: path, name: last, expected: [2], got: [2, 1]), saying: "[2, 1]",
        replacing(last, Safetensors.Entry(name: last, shape: [2, 1], scalars: [Float(1), 1])))
      try expect(
        .wrongType(path: path, name: last, type: "I32"), saying: "I32",
        replacing(last, Safetensors.Entry(name: last, type: .int32, shape: [2], bytes: [UInt8](repeating: 0, count: 8)))
      )
      for bad in [Float.nan, .infinity] {
        try expect(
          .notFinite(path: path, name: last), saying: "not finite",
          replacing(last, Safetensors.Entry(name: last, shape: [2], scalars: [1, bad])))
      }
      // A Double that no Float holds.
      try expect(
        .notFinite(path: path, name: last), saying: "not finite",
        replacing(last, Safetensors.Entry(name: last, shape: [2], scalars: [1, 1e300])))
      #expect(throws: SafetensorsError.self) { try model.loadWeights(from: folder + "/nothing") }
      try Data([1, 2, 3]).write(to: URL(fileURLWithPath: path))
      #expect(throws: SafetensorsError.self) { try model.loadWeights(from: path) }
      #expect(try model.weightsSHA256() == hash)
      try Safetensors(good).write(to: path)
      try model.loadWeights(from: path)
      #expect(try model.parameter(last).scalars == [7, 7])
    }
  }

  @Test("Files that describe no model, or a model that its tensors do not fit")
  func wrongModels() throws {
    let model = try trained(Float.self)
    try Fixtures.withFolder { folder in
      let path = folder + "/m"
      try model.saveWeights(to: path)
      let refusal = #expect(throws: ModelFileError.self, "weights alone are no model") {
        try ModelFile(contentsOf: path)
      }
      #expect(refusal?.description.contains("loadWeights(from:)") == true)
      try model.save(to: path)
      let file = try Safetensors(path: path)
      for (key, text) in file.metadata {
        for bad in ["", "{", "[7", "null", text + "x", "\"text\""] {
          var metadata = file.metadata
          metadata[key] = bad
          try Safetensors(file.entries, metadata: metadata).write(to: path)
          #expect(throws: ModelFileError.self, "\(key) = \(bad)") { try ModelFile(contentsOf: path) }
        }
      }
      for shape in ["[9]", "[]", "[-1]", "[4000000000]", "[8, 9]", "[9223372036854775807, 4]"] {
        var metadata = file.metadata
        metadata["lamina.input_shape"] = shape
        #expect(metadata.count == file.metadata.count, "the key is another")
        try Safetensors(file.entries, metadata: metadata).write(to: path)
        #expect(throws: (any Error).self, "\(shape)") { try ModelFile(contentsOf: path).makeModel(as: Float.self) }
      }
      try Safetensors(Array(file.entries.dropLast()), metadata: file.metadata).write(to: path)
      #expect(throws: ModelFileError.missingTensor(path: path, name: file.entries.last!.name)) {
        try ModelFile(contentsOf: path).makeModel(as: Float.self)
      }
    }
  }

  @Test("Saving is all or nothing, and refuses what no file can describe")
  func saving() throws {
    let model = try trained(Float.self)
    try Fixtures.withFolder { folder in
      #expect(throws: SafetensorsError.self) { try model.save(to: folder + "/no/such/folder") }
      let path = folder + "/m"
      try model.save(to: path)
      let before = try Data(contentsOf: URL(fileURLWithPath: path))
      let mine = Sequential<Float>(layers: [Dense(1), Mine()])
      #expect(throws: ModelError.notBuilt) { try mine.save(to: path) }
      #expect(throws: ModelError.notBuilt) { try mine.saveWeights(to: path) }
      try mine.build(inputShape: [2])
      let refusal = ModelFileError.customLayer("mine")
      #expect(throws: refusal) { try mine.save(to: path) }
      #expect(refusal.description.contains("saveWeights(to:)"))
      #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == before)
      try mine.saveWeights(to: folder + "/w")
      #expect(try Safetensors(path: folder + "/w").entries.map(\.name) == ["dense.bias", "dense.kernel"])
      // A folder in the way: refused, and no half-written file beside it.
      try FileManager.default.createDirectory(atPath: folder + "/d/x", withIntermediateDirectories: true)
      #expect(throws: SafetensorsError.self) { try model.save(to: folder + "/d") }
      #expect(try Set(FileManager.default.contentsOfDirectory(atPath: folder)) == ["m", "w", "d"])
    }
  }

  /// A user's layer.
  struct Mine: CustomLayer {
    func outputShape(inputShape: [Int]) throws -> [Int] { inputShape }

    func forward(_ input: MatrixView<Float>, parameters: [MatrixView<Float>], output: MatrixView<Float>, mode: Mode) {}

    func backward(
      input: MatrixView<Float>, output: MatrixView<Float>, outputGradient: MatrixView<Float>,
      parameters: [MatrixView<Float>], inputGradient: MatrixView<Float>, parameterGradients: [MatrixView<Float>]
    ) {}
  }
}
