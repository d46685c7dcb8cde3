import Datasets
import Foundation
import NeuralNetworks
import Testing
import Training

/// What the engine is for: networks that learn real and drawn digits.
@Suite("Accuracy")
struct AccuracyTests {
  private func accuracy(
    on source: DataSource, trainImages: Int? = nil, epochs: Int, widths: [Int] = [128, 64],
    normalization: ClassifierRecipe.Normalization = .after, seed: UInt64 = 0
  ) throws -> Double {
    var job = TrainingJob()
    job.source = source
    job.trainImages = trainImages
    job.epochs = epochs
    job.recipe = ClassifierRecipe(hiddenWidths: widths, normalization: normalization)
    job.seed = seed
    job.verbosity = .silent
    return try job.run(as: Float.self).testAccuracy
  }

  @Test("Synthetic digits are too hard for a linear model and not for a batch-normalized network")
  func syntheticDigits() throws {
    #expect(try accuracy(on: .synthetic, trainImages: 20_000, epochs: 6, widths: [], normalization: .none) < 0.95)
    #expect(try accuracy(on: .synthetic, trainImages: 20_000, epochs: 6) > 0.98)
  }

  private static let hasData = ProcessInfo.processInfo.environment["LAMINA_DATA"]?.isEmpty == false

  @Test("MNIST above 97.6 %", .enabled(if: hasData, "LAMINA_DATA is not set"))
  func mnist() throws {
    #expect(try accuracy(on: .standard(.mnist), epochs: 10, seed: 4) >= 0.976)
  }

  @Test("Fashion-MNIST above 87.5 %", .enabled(if: hasData, "LAMINA_DATA is not set"))
  func fashionMNIST() throws {
    #expect(try accuracy(on: .standard(.fashionMNIST), epochs: 10) >= 0.875)
  }
}
