import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// How models are put together, and what they say of themselves.
@Suite("Sequential")
struct SequentialTests {
  @Test("Layers may be listed with if, else, switch and for")
  func builder() throws {
    func model(deep: Bool, dropout: Double?) -> Sequential<Float> {
      Sequential {
        Flatten()
        for units in [30, 20] {
          Dense(units, activation: .relu)
          if deep { BatchNormalization() }
        }
        if let dropout { Dropout(dropout) } else { Activation.tanh }
        switch deep {
        case true: Dense(5)
        case false: [Dense(6), Activation.softmax] as [any Layer]
        }
      }
    }
    let deep = model(deep: true, dropout: 0.5)
    #expect(
      deep.layers.map(\.kind) == [
        "flatten", "dense", "batch_normalization", "dense", "batch_normalization", "dropout", "dense",
      ])
    let shallow = model(deep: false, dropout: nil)
    #expect(shallow.layers.map(\.kind) == ["flatten", "dense", "dense", "tanh", "dense", "softmax"])
    #expect(!deep.isBuilt && deep.inputShape == nil && deep.outputShape == nil && deep.parameters.isEmpty)
    try deep.build(inputShape: [4, 7])
    #expect(deep.isBuilt && deep.inputShape == [4, 7] && deep.outputShape == [5])
    #expect(
      deep.parameters.prefix(6).map(\.name) == [
        "dense.kernel", "dense.bias", "batch_normalization.gamma", "batch_normalization.beta",
        "batch_normalization.moving_mean", "batch_normalization.moving_variance",
      ])
    #expect(try deep.parameter("dense.kernel").shape == [28, 30])
  }

  @Test("Float unless another precision is named")
  func precision() {
    let single = Sequential { Dense(1) }
    let double = Sequential<Double> { Dense(1) }
    #expect(type(of: single) == Sequential<Float>.self && type(of: double) == Sequential<Double>.self)
  }

  @Test("summary() of 784-128-64-10 with batch normalization: Keras's numbers of parameters")
  func summary() throws {
    let model = Sequential {
      Dense(128, activation: .relu)
      BatchNormalization()
      Dense(64, activation: .relu)
      BatchNormalization()
      Dense(10, activation: .softmax, name: "classes")
    }
    #expect(throws: ModelError.notBuilt) { try model.summary() }
    try model.build(inputShape: [784])
    // 784·128 + 128 = 100,480; 4·128 = 512; 128·64 + 64 = 8,256; 4·64 = 256; 64·10 + 10 = 650. Together 110,154, of
    // which the moving statistics, 2·128 + 2·64 = 384, are not trained.
    let expected = """
      Layer                  Kind                 Output shape  Parameters
      ────────────────────────────────────────────────────────────────────
      dense                  dense                (batch, 128)     100,480
      batch_normalization    batch_normalization  (batch, 128)         512
      dense_1                dense                (batch, 64)        8,256
      batch_normalization_1  batch_normalization  (batch, 64)          256
      classes                dense                (batch, 10)          650
      ────────────────────────────────────────────────────────────────────
      Parameters: 110,154, trainable: 109,770, not trainable: 384
      """
    #expect(try model.summary() == expected)
    #expect(model.parameterCount == 110_154 && model.trainableParameterCount == 109_770)
  }

  @Test("Parameters are read and set by name")
  func parameters() throws {
    let model = Sequential { Dense(70, name: "a") }
    #expect(throws: ModelError.notBuilt) { try model.parameter("a.kernel") }
    try model.build(inputShape: [3])
    let values = Tensor<Float>(shape: [3, 70]) { Float($0) }
    try model.setParameter("a.kernel", to: values)
    #expect(try model.parameter("a.kernel") == values)
    #expect(try model.parameter("a.bias") == .zeros([70]))
    // x·W of the unit vectors are the rows of W.
    #expect(try model.predict(Tensor<Float>.identity(3)) == values)
    #expect(throws: ModelError.unknownParameter("a.gamma", known: ["a.kernel", "a.bias"])) {
      try model.gradient("a.gamma")
    }
    #expect(throws: ModelError.shape(what: "a.kernel", expected: [3, 70], got: [70, 3])) {
      try model.setParameter("a.kernel", to: .zeros([70, 3]))
    }
  }
}
