import Datasets
import Foundation

/// What a saved image classifier needs beside its layers and weights: what it was trained on and how pixels are scaled.
public struct ClassifierMetadata: Sendable, Equatable, Codable {
  /// Name of the data it was trained on.
  public var data: String
  /// Names of its classes.
  public var classNames: [String]
  /// Factor of each pixel, or of all.
  public var scale: [Double]
  /// What is added to each scaled pixel, or to all.
  public var offset: [Double]

  private static let key = "classifier"

  /// The metadata of a classifier of `data` whose pixels are scaled by `scaling`.
  public init(data: String, classNames: [String], scaling: PixelScaling) {
    self.data = data
    self.classNames = classNames
    switch scaling {
    case .uniform(let scale, let offset): (self.scale, self.offset) = ([scale], [offset])
    case .perFeature(let scale, let offset): (self.scale, self.offset) = (scale, offset)
    }
  }

  /// The metadata in a model file.
  ///
  /// - Throws: `ModelFileError.notAModel` where there are none, or they cannot be understood.
  public init(_ file: ModelFile) throws {
    guard let text = file.metadata[Self.key] else {
      throw ModelFileError.notAModel(path: file.path, problem: "it does not say how pixels are scaled; train it anew")
    }
    guard let metadata = try? JSONDecoder().decode(Self.self, from: Data(text.utf8)), !metadata.scale.isEmpty,
      metadata.scale.count == metadata.offset.count,
      (metadata.scale + metadata.offset).allSatisfy(\.isFinite)
    else {
      throw ModelFileError.notAModel(path: file.path, problem: "its metadata '\(Self.key)' cannot be understood")
    }
    self = metadata
  }

  /// The scaling of its pixels.
  public var scaling: PixelScaling {
    scale.count == 1
      ? .uniform(scale: scale[0], offset: offset[0]) : .perFeature(scale: scale, offset: offset)
  }

  /// The dictionary to save with the model.
  ///
  /// - Throws: `EncodingError` where a number is not finite.
  public func dictionary() throws -> [String: String] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    return [Self.key: String(decoding: try encoder.encode(self), as: UTF8.self)]
  }
}
