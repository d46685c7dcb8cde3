import LinearAlgebra

/// A parameter of a model, by name.
public struct ParameterDescription: Sendable, Equatable {
  /// Layer and parameter, such as `dense_1.kernel`.
  public let name: String
  /// Its shape.
  public let shape: [Int]
  /// Whether the optimizer moves it.
  public let isTrainable: Bool
  /// Number of scalars.
  public var count: Int { shape.reduce(1, *) }
}

extension Sequential {
  /// Every parameter, in the order of the layers; empty before the model is built.
  public var parameters: [ParameterDescription] {
    (store?.slots ?? []).map {
      ParameterDescription(
        name: $0.name, shape: $0.specification.shape, isTrainable: $0.specification.isTrainable)
    }
  }

  /// Number of scalars in all parameters, moving statistics included.
  public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

  /// Number of scalars that the optimizer moves.
  public var trainableParameterCount: Int { parameters.reduce(0) { $0 + ($1.isTrainable ? $1.count : 0) } }

  /// The values of a parameter, such as `dense_1.kernel`.
  ///
  /// - Throws: `ModelError` where the model is not built or has no such parameter.
  public func parameter(_ name: String) throws -> Tensor<Scalar> {
    let (store, index) = try slot(name)
    return try Tensor(shape: store.slots[index].specification.shape, scalars: store.read(index))
  }

  /// The gradient of a parameter that `computeGradients` left; zeros where it is not trainable.
  ///
  /// A training step uses up a kernel's gradient block by block and leaves none.
  ///
  /// - Throws: `ModelError` where the model is not built or has no such parameter.
  public func gradient(_ name: String) throws -> Tensor<Scalar> {
    let (store, index) = try slot(name)
    return try Tensor(shape: store.slots[index].specification.shape, scalars: store.readGradient(index))
  }

  /// Sets the values of a parameter.
  ///
  /// - Throws: `ModelError` where the model is not built, has no such parameter, or the shape is another.
  public func setParameter(_ name: String, to values: Tensor<Scalar>) throws {
    let (store, index) = try slot(name)
    let shape = store.slots[index].specification.shape
    guard values.shape == shape else { throw ModelError.shape(what: name, expected: shape, got: values.shape) }
    store.write(values.scalars, to: index)
  }

  private func slot(_ name: String) throws -> (ParameterStore<Scalar>, Int) {
    guard let store else { throw ModelError.notBuilt }
    guard let index = store.slots.firstIndex(where: { $0.name == name }) else {
      throw ModelError.unknownParameter(name, known: store.slots.map(\.name))
    }
    return (store, index)
  }
}

extension Sequential {
  /// Names and shapes of the parameters for samples of `inputShape`, without making them.
  package func parameterShapes(inputShape: [Int]) throws -> [(name: String, shape: [Int])] {
    try NetworkLayout(layers: layers, inputShape: inputShape, precision: Scalar.self).records.map {
      ($0.name, $0.specification.shape)
    }
  }
}
