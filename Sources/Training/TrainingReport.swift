/// What a training run gave, as `lamina train --json` prints it.
public struct TrainingReport: Sendable, Equatable {
  /// Name of the data.
  public var data: String
  /// Images trained on, without those kept for validation.
  public var trainImages: Int
  /// Held-out images.
  public var testImages: Int
  /// Visits to the training images.
  public var epochs: Int
  /// Images per step.
  public var batchSize: Int
  /// Scalars in all parameters, moving statistics included.
  public var parameters: Int
  /// Seconds of training alone.
  public var seconds: Double
  /// Images trained on per second of training.
  public var imagesPerSecond: Double
  /// Mean training loss of the last epoch, measured as the weights moved.
  public var trainLoss: Double
  /// Loss on the held-out images.
  public var testLoss: Double
  /// Share of the held-out images answered right.
  public var testAccuracy: Double
  /// Digest of all parameters.
  public var weightsSHA256: String
  /// The core whose kernels OpenBLAS uses.
  public var blasCore: String
  /// The instruction set of Lamina's kernels.
  public var kernels: String
  /// Members of the team.
  public var threads: Int
  /// What all random numbers were drawn from.
  public var seed: UInt64
}

extension TrainingReport: Encodable {
  private enum CodingKeys: String, CodingKey {
    case data, epochs, parameters, seconds, kernels, threads, seed
    case trainImages = "train_images"
    case testImages = "test_images"
    case batchSize = "batch_size"
    case imagesPerSecond = "images_per_second"
    case trainLoss = "train_loss"
    case testLoss = "test_loss"
    case testAccuracy = "test_accuracy"
    case weightsSHA256 = "weights_sha256"
    case blasCore = "blas_core"
  }

  /// Writes every key; a loss that is not finite becomes null, for which JSON has no number.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    func finite(_ value: Double) -> Double? { value.isFinite ? value : nil }
    try container.encode(data, forKey: .data)
    try container.encode(trainImages, forKey: .trainImages)
    try container.encode(testImages, forKey: .testImages)
    try container.encode(epochs, forKey: .epochs)
    try container.encode(batchSize, forKey: .batchSize)
    try container.encode(parameters, forKey: .parameters)
    try container.encode(seconds, forKey: .seconds)
    try container.encode(imagesPerSecond, forKey: .imagesPerSecond)
    try container.encode(finite(trainLoss), forKey: .trainLoss)
    try container.encode(finite(testLoss), forKey: .testLoss)
    try container.encode(testAccuracy, forKey: .testAccuracy)
    try container.encode(weightsSHA256, forKey: .weightsSHA256)
    try container.encode(blasCore, forKey: .blasCore)
    try container.encode(kernels, forKey: .kernels)
    try container.encode(threads, forKey: .threads)
    try container.encode(seed, forKey: .seed)
  }
}
