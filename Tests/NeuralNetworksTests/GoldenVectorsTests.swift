import Foundation
import Testing

/// The files are whole and of the shapes their README promises; what they hold is tested where it is used.
@Suite("Golden vectors")
struct GoldenVectorsTests {
  @Test("dense.json")
  func dense() throws {
    let vectors = try GoldenVectors.load("dense", as: GoldenVectors.Dense.self)
    #expect(vectors.x.shape == [5, 4] && vectors.kernel.shape == [4, 3] && vectors.dy.shape == [5, 3])
    #expect(Set(vectors.cases.map(\.activation)).count == 9)
    for item in vectors.cases {
      #expect(item.y.values.count == 15 && item.dx.values.count == 20 && item.dkernel.values.count == 12)
      #expect((item.dbias != nil) == item.useBias)
    }
  }

  @Test("batch_normalization.json")
  func batchNormalization() throws {
    let vectors = try GoldenVectors.load("batch_normalization", as: GoldenVectors.BatchNormalization.self)
    #expect(vectors.cases.count == 10)
    for item in vectors.cases {
      let count = item.shape.reduce(1, *)
      let features = item.axis < 0 ? item.shape[item.shape.count + item.axis] : item.shape[item.axis]
      #expect(item.steps.count == 3)
      for step in item.steps {
        #expect(step.x.shape == item.shape && step.y.values.count == count && step.movingMean.shape == [features])
      }
      #expect(item.backward.dx.shape == item.shape && item.inference.y.shape == item.shape)
      #expect((item.gamma != nil) == item.scale && (item.backward.dgamma != nil) == item.scale)
      #expect((item.beta != nil) == item.center && (item.backward.dbeta != nil) == item.center)
    }
  }

  @Test("optimizers.json")
  func optimizers() throws {
    let vectors = try GoldenVectors.load("optimizers", as: GoldenVectors.Optimizers.self)
    #expect(Set(vectors.cases.map(\.optimizer)) == ["sgd", "adam", "adamw", "rmsprop"])
    #expect(vectors.gradients.count == 5)
    for item in vectors.cases {
      #expect(item.parameters.map(\.shape) == vectors.gradients.map(\.shape))
    }
  }

  @Test("losses.json")
  func losses() throws {
    let vectors = try GoldenVectors.load("losses", as: GoldenVectors.Losses.self)
    #expect(Set(vectors.cases.map(\.loss)).count == 7)
    for item in vectors.cases {
      #expect((item.labels != nil) != (item.targets != nil))
      #expect(item.gradient.shape == item.prediction.shape && item.rows.shape == [item.prediction.shape[0]])
    }
  }

  @Test("initializers.json")
  func initializers() throws {
    let vectors = try GoldenVectors.load("initializers", as: GoldenVectors.Initializers.self)
    #expect(Set(vectors.cases.map(\.initializer)).count == 6)
  }

  @Test("training_run.json")
  func trainingRun() throws {
    let vectors = try GoldenVectors.load("training_run", as: GoldenVectors.TrainingRun.self)
    #expect(vectors.batches.count == 20 && vectors.labels.allSatisfy { $0.count == 8 })
    #expect(vectors.runs.map(\.placement) == ["after", "before"])
    #expect(
      vectors.runs.allSatisfy { $0.losses.shape == [20] && $0.kernels.map(\.shape) == vectors.kernels.map(\.shape) })
  }
}
