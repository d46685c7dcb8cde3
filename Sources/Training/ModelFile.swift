import Foundation
import NeuralNetworks

/// A saved model: a safetensors file with the layers in its metadata.
public struct ModelFile: Sendable {
  /// The file.
  public let path: String
  /// `float32` or `float64`.
  public let precision: String
  /// Shape of one sample of the input.
  public let inputShape: [Int]
  /// The layers, first to last.
  public let layers: [LayerConfiguration]
  /// What was saved beside the model.
  public let metadata: [String: String]

  private let tensors: Safetensors

  enum Key {
    static let layers = "lamina.layers"
    static let inputShape = "lamina.input_shape"
    static let precision = "lamina.precision"
  }

  /// Reads the file at `path`.
  ///
  /// - Throws: `SafetensorsError` where it cannot be read; `ModelFileError.notAModel` where it holds no model.
  public init(contentsOf path: String) throws {
    let file = try Safetensors(path: path)
    self.path = path
    tensors = file
    func value<Value: Decodable>(_ key: String, _ type: Value.Type) throws -> Value {
      guard let text = file.metadata[key] else {
        throw ModelFileError.notAModel(path: path, problem: "it has no \(key) in its metadata")
      }
      do {
        return try JSONDecoder().decode(type, from: Data(text.utf8))
      } catch {
        throw ModelFileError.notAModel(path: path, problem: "its \(key) cannot be understood")
      }
    }
    layers = try value(Key.layers, [LayerConfiguration].self)
    inputShape = try value(Key.inputShape, [Int].self)
    guard let precision = file.metadata[Key.precision], ["float32", "float64"].contains(precision) else {
      throw ModelFileError.notAModel(path: path, problem: "its \(Key.precision) is neither float32 nor float64")
    }
    self.precision = precision
    metadata = file.metadata.filter { !$0.key.hasPrefix("lamina.") }
  }

  /// The model, built and with the saved parameters; compile it before training or evaluating.
  ///
  /// - Parameter type: the precision wanted, whatever the file's.
  /// - Throws: `ModelError` or `ModelFileError` where layers and tensors do not fit.
  public func makeModel<Scalar: NetworkScalar>(as type: Scalar.Type = Float.self) throws -> Sequential<Scalar> {
    let model = Sequential<Scalar>(layers: layers.map(\.layer))
    // The shapes are compared before the memory is asked for: a damaged file must not make a huge model.
    let parameters = try model.parameterShapes(inputShape: inputShape)
    for (name, shape) in parameters {
      guard let entry = tensors[name] else { throw ModelFileError.missingTensor(path: path, name: name) }
      guard entry.shape == shape else {
        throw ModelFileError.wrongShape(path: path, name: name, expected: shape, got: entry.shape)
      }
    }
    try model.build(inputShape: inputShape)
    try model.load(tensors, path: path)
    return model
  }
}

/// Why a file's tensors are not those of a model.
public enum ModelFileError: Error, Equatable, CustomStringConvertible {
  /// A tensor that the model needs is not there.
  case missingTensor(path: String, name: String)
  /// A tensor that the model does not know.
  case unexpectedTensor(path: String, name: String)
  /// A tensor of another shape.
  case wrongShape(path: String, name: String, expected: [Int], got: [Int])
  /// A tensor of integers where numbers are needed.
  case wrongType(path: String, name: String, type: String)
  /// A tensor with NaN or infinity in it.
  case notFinite(path: String, name: String)
  /// The file holds tensors but no description of layers.
  case notAModel(path: String, problem: String)
  /// A layer that no file can describe.
  case customLayer(String)

  /// What, where, and what to do.
  public var description: String {
    switch self {
    case .missingTensor(let path, let name):
      "\(path): there is no tensor \(name); the file is of another model"
    case .unexpectedTensor(let path, let name):
      "\(path): the model has no parameter \(name); the file is of another model"
    case .wrongShape(let path, let name, let expected, let got):
      "\(path): \(name) has shape \(got), but the model needs \(expected)"
    case .wrongType(let path, let name, let type):
      "\(path): \(name) holds \(type), but a parameter must be F32 or F64"
    case .notFinite(let path, let name):
      "\(path): \(name) holds a value that is not finite; save the model again from a sound one"
    case .notAModel(let path, let problem):
      "\(path): this is no model saved by Lamina: \(problem); for weights alone use loadWeights(from:)"
    case .customLayer(let name):
      "layer '\(name)' is not one of Lamina's own and cannot be described in a file; use saveWeights(to:)"
    }
  }
}
