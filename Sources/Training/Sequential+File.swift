import Foundation
import LinearAlgebra
import NeuralNetworks

extension Sequential {
  /// Writes all parameters, moving statistics included, to a safetensors file, atomically.
  ///
  /// Names are those of `parameters`, such as `dense_1.kernel`; a kernel has shape (inputs, units).
  /// - Throws: `ModelError.notBuilt` before the model is built; `SafetensorsError` where the file cannot be written.
  public func saveWeights(to path: String) throws {
    guard isBuilt else { throw ModelError.notBuilt }
    try Safetensors(entries()).write(to: path)
  }

  /// Reads all parameters from a safetensors file: all of them, or none where anything is wrong.
  ///
  /// Values of the other precision are converted.
  /// - Throws: `ModelError.notBuilt` before the model is built; `SafetensorsError` where the file cannot be read;
  ///   `ModelFileError` where its tensors are not those of the model.
  public func loadWeights(from path: String) throws {
    try load(Safetensors(path: path), path: path)
  }

  /// Writes layers and parameters to a safetensors file, atomically; `ModelFile` reads it.
  ///
  /// - Parameters:
  ///   - path: the file.
  ///   - metadata: free text to keep beside the model; keys that begin with `lamina.` are the format's own.
  /// - Throws: `ModelError.notBuilt` before the model is built; `ModelFileError.customLayer` where a layer is a user's
  ///   own, which no file can describe (`saveWeights(to:)` can still save its weights); `SafetensorsError` where the
  ///   file cannot be written.
  public func save(to path: String, metadata: [String: String] = [:]) throws {
    guard let inputShape else { throw ModelError.notBuilt }
    let configurations = try layers.map { layer in
      guard let configuration = LayerConfiguration(layer) else {
        let custom = layer.withoutConfiguration
        throw ModelFileError.customLayer(custom.name ?? custom.kind)
      }
      return configuration
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    var metadata = metadata
    metadata[ModelFile.Key.layers] = String(decoding: try encoder.encode(configurations), as: UTF8.self)
    metadata[ModelFile.Key.inputShape] = String(decoding: try encoder.encode(inputShape), as: UTF8.self)
    metadata[ModelFile.Key.precision] = Scalar.precisionName
    try Safetensors(entries(), metadata: metadata).write(to: path)
  }

  /// SHA-256 of all parameters in hexadecimal: their names, shapes and bits, in the order of `parameters`.
  ///
  /// Two models have the same digest only if they are the same to the bit.
  /// - Throws: `ModelError.notBuilt` before the model is built.
  public func weightsSHA256() throws -> String {
    guard isBuilt else { throw ModelError.notBuilt }
    var digest = SHA256()
    for parameter in parameters {
      digest.update(Array("\(parameter.name) \(parameter.shape)\n".utf8))
      try self.parameter(parameter.name).withUnsafeBufferPointer { digest.update(Array(UnsafeRawBufferPointer($0))) }
    }
    return digest.finalize()
  }

  private func entries() throws -> [Safetensors.Entry] {
    try parameters.map { description in
      try Safetensors.Entry(
        name: description.name, shape: description.shape, scalars: try parameter(description.name).scalars)
    }
  }

  /// Sets all parameters from `file`, after all have been checked.
  func load(_ file: Safetensors, path: String) throws {
    guard isBuilt else { throw ModelError.notBuilt }
    let expected = parameters
    let known = Set(expected.map(\.name))
    if let surplus = file.entries.first(where: { !known.contains($0.name) }) {
      throw ModelFileError.unexpectedTensor(path: path, name: surplus.name)
    }
    var tensors: [Tensor<Scalar>] = []
    for description in expected {
      guard let entry = file[description.name] else {
        throw ModelFileError.missingTensor(path: path, name: description.name)
      }
      guard entry.shape == description.shape else {
        throw ModelFileError.wrongShape(
          path: path, name: description.name, expected: description.shape, got: entry.shape)
      }
      let values: [Scalar] =
        switch entry.type {
        case .float32: try entry.scalars(as: Float.self).map { Scalar($0) }
        case .float64: try entry.scalars(as: Double.self).map { Scalar($0) }
        default: throw ModelFileError.wrongType(path: path, name: description.name, type: entry.type.rawValue)
        }
      guard values.allSatisfy(\.isFinite) else {
        throw ModelFileError.notFinite(path: path, name: description.name)
      }
      tensors.append(try Tensor(shape: entry.shape, scalars: values))
    }
    for (description, tensor) in zip(expected, tensors) { try setParameter(description.name, to: tensor) }
  }
}

extension Layer {
  /// The layer, or the one within it where it is a block, that no file can describe.
  fileprivate var withoutConfiguration: any Layer {
    let inner = (self as? Residual)?.layers.first { LayerConfiguration($0) == nil }
    return inner?.withoutConfiguration ?? self
  }
}
