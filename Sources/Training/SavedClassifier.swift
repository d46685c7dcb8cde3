import Datasets
import NeuralNetworks

/// What a classifier says about one image.
public struct ClassPrediction: Sendable, Equatable {
  /// Number of the most probable class.
  public var label: Int
  /// Its name.
  public var className: String
  /// Its probability.
  public var probability: Double
}

/// An image classifier from a file, with the scaling it was trained with.
public final class SavedClassifier<Scalar: NetworkScalar> {
  /// The model, compiled for evaluation.
  public let model: Sequential<Scalar>
  /// What it was trained on.
  public let metadata: ClassifierMetadata

  /// The classifier in `file`.
  ///
  /// - Parameters:
  ///   - file: a file that `TrainingJob` has saved.
  ///   - threads: members of the team; nil: chosen as `Sequential.compile` does.
  /// - Throws: `ModelFileError` or `ModelError` where the file holds no classifier of images.
  public init(_ file: ModelFile, threads: Int? = nil) throws {
    metadata = try ClassifierMetadata(file)
    model = try file.makeModel(as: Scalar.self)
    guard model.outputShape == [metadata.classNames.count] else {
      throw ModelFileError.notAModel(
        path: file.path,
        problem: "it has \(metadata.classNames.count) class names for outputs of shape "
          + "\(model.outputShape ?? [])")
    }
    try model.compile(loss: .sparseCategoricalCrossEntropy(), threads: threads)
  }

  /// Loss and accuracy on labelled images.
  ///
  /// - Throws: `ModelError` where images or labels do not fit the model.
  public func evaluate(_ images: ImageDataset) throws -> Evaluation {
    try model.evaluate(Samples(images, scaling: metadata.scaling))
  }

  /// The most probable class of each image of an IDX array of shape (images, height, width).
  ///
  /// - Throws: `DatasetError` where the array holds no images, `ModelError` where they do not fit the model.
  public func predict(_ images: IDX) throws -> [ClassPrediction] {
    guard images.dimensions.count == 3 else {
      throw DatasetError.invalid(
        problem: "an IDX array of \(images.dimensions.count) dimensions", advice: "images have 3: count, height, width")
    }
    // Labels are not looked at.
    let data = try ImageDataset(
      pixels: images.bytes, labels: [Int32](repeating: 0, count: images.dimensions[0]), height: images.dimensions[1],
      width: images.dimensions[2], classNames: metadata.classNames)
    let probabilities = try model.predict(Samples(data, scaling: metadata.scaling))
    let classes = metadata.classNames.count
    return probabilities.withUnsafeBufferPointer { values in
      (0..<data.count).map { row in
        var best = 0
        for label in 1..<max(classes, 1) where values[row * classes + label] > values[row * classes + best] {
          best = label
        }
        return ClassPrediction(
          label: best, className: metadata.classNames[best], probability: Double(values[row * classes + best]))
      }
    }
  }
}
