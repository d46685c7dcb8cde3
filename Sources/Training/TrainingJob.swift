import Datasets
import Foundation
import LinearAlgebra
import NeuralNetworks

/// Training an image classifier from data to report: what `lamina train` does.
public struct TrainingJob: Sendable {
  /// Where the images come from.
  public var source: DataSource = .synthetic
  /// At most so many training images; nil: all.
  public var trainImages: Int?
  /// At most so many held-out images; nil: all.
  public var testImages: Int?
  /// How pixels are scaled, fitted to the training images.
  public var scaling: ScalingMethod = .unit
  /// The network.
  public var recipe = ClassifierRecipe()
  /// The optimizer.
  public var optimizer: any Optimizer = Adam()
  /// How the learning rate moves over the run; cosine: the last steps settle, whatever the seed.
  public var schedule = LearningRateSchedule.cosine
  /// Visits to the training images.
  public var epochs = 10
  /// Images per step.
  public var batchSize = 32
  /// Share of the training images, the last ones, that is kept for validation.
  public var validationSplit = 0.0
  /// What all random numbers are drawn from.
  public var seed: UInt64 = 0
  /// Members of the team; nil: chosen as `Sequential.compile` does.
  public var threads: Int?
  /// Where the trained model is saved; nil: nowhere.
  public var savePath: String?
  /// How much is said on the way.
  public var verbosity: Verbosity = .auto
  /// Where it is said.
  public var output: ProgressOutput = .standardOutput

  /// Training with Keras's defaults on synthetic digits, but for the learning rate's schedule.
  public init() {}

  /// Loads the data, trains in the precision of `Scalar`, judges on the held-out images and saves.
  ///
  /// - Throws: `DatasetError`, `ModelError`, `InstructionSetError` or `SafetensorsError`; before any training where a
  ///   setting or the folder to save in is at fault.
  public func run<Scalar: NetworkScalar>(as type: Scalar.Type = Float.self) throws -> TrainingReport {
    let instructionSet = try InstructionSet.chosen()
    if let savePath { try checkFolder(of: savePath) }
    let data = try source.load(trainCount: trainImages, testCount: testImages)
    return try train(data, instructionSet, Scalar.self)
  }

  private func train<Scalar: NetworkScalar>(
    _ data: TrainTestData, _ instructionSet: InstructionSet, _ type: Scalar.Type
  ) throws -> TrainingReport {
    let scaling = try scaling.fitted(to: data.train)
    let training = try Samples<Scalar>(data.train, scaling: scaling)
    let test = try Samples<Scalar>(data.test, scaling: scaling)
    let model = Sequential<Scalar>(seed: seed, layers: recipe.layers(classes: data.train.classCount))
    try model.compile(optimizer: optimizer, loss: .sparseCategoricalCrossEntropy(), threads: threads)

    let history = try model.fit(
      training, epochs: epochs, batchSize: batchSize, schedule: schedule, validationSplit: validationSplit,
      verbose: verbosity,
      output: output)
    let team = model.teamSize ?? 1
    let evaluation = try model.evaluate(test)
    if let savePath {
      let metadata = ClassifierMetadata(data: source.name, classNames: data.train.classNames, scaling: scaling)
      try model.save(to: savePath, metadata: metadata.dictionary())
    }
    let trained =
      validationSplit == 0
      ? training.count : try training.split(validationFraction: validationSplit).training.count
    return TrainingReport(
      data: source.name, trainImages: trained, testImages: test.count, epochs: epochs, batchSize: batchSize,
      parameters: model.parameterCount, seconds: history.seconds,
      imagesPerSecond: Double(trained * epochs) / max(history.seconds, 1e-9),
      trainLoss: history.loss.last ?? .nan, testLoss: evaluation.loss, testAccuracy: evaluation.accuracy ?? 0,
      weightsSHA256: try model.weightsSHA256(), blasCore: BLAS.coreName, kernels: instructionSet.rawValue,
      threads: team, seed: seed)
  }

  /// Refuses a folder that is not there before hours of training rather than after them.
  private func checkFolder(of path: String) throws {
    let folder = (path as NSString).deletingLastPathComponent
    var isFolder: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: folder.isEmpty ? "." : folder, isDirectory: &isFolder)
    guard exists, isFolder.boolValue else {
      throw DatasetError.unwritable(path: path, reason: "there is no folder \(folder)")
    }
  }
}
