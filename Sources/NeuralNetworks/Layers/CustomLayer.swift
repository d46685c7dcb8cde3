/// A layer with arithmetic of your own: implement forward and backward, and it trains in any `Sequential`.
///
/// One operation of the compiled step calls them, on one thread, with views of whole matrices: a sample's last axis is a
/// row's columns, and a batch of b samples of shape (r, c) has b·r rows. Allocate nothing in them if steps must not. A
/// predictor calls `forward` on the threads of its callers, several at once where they call at once.
public protocol CustomLayer<Scalar>: Layer {
  /// The precision the layer is written for; it can only be used in models of that precision.
  associatedtype Scalar: NetworkScalar

  /// The shape of one sample of the output for a sample of `inputShape`.
  ///
  /// - Throws: an error of your own where the input does not fit.
  func outputShape(inputShape: [Int]) throws -> [Int]

  /// The parameters wanted, none by default. They reach `forward` and `backward` in this order, as matrices whose rows
  /// are the product of all axes but the last.
  func parameters(inputShape: [Int]) throws -> [ParameterSpecification]

  /// Writes the outputs for `input`.
  func forward(_ input: MatrixView<Scalar>, parameters: [MatrixView<Scalar>], output: MatrixView<Scalar>, mode: Mode)

  /// Writes the gradients of the loss with respect to the input and to each trainable parameter (overwriting them),
  /// given those with respect to the output.
  ///
  /// `parameterGradients` has one matrix per parameter; those of parameters that are not trainable are ignored.
  func backward(
    input: MatrixView<Scalar>, output: MatrixView<Scalar>, outputGradient: MatrixView<Scalar>,
    parameters: [MatrixView<Scalar>], inputGradient: MatrixView<Scalar>, parameterGradients: [MatrixView<Scalar>])
}

extension CustomLayer {
  /// No name given: one is made from `kind`.
  public var name: String? { nil }

  /// The type's name in lower case, without generic arguments.
  public var kind: String { String(describing: Self.self).prefix { $0 != "<" }.lowercased() }

  /// No parameters.
  public func parameters(inputShape: [Int]) throws -> [ParameterSpecification] { [] }

  /// Adds the one operation.
  public func lower(into builder: inout NetworkBuilder) throws {
    let inputShape = builder.shape
    try builder.custom(
      self, outputShape: try outputShape(inputShape: inputShape), parameters: try parameters(inputShape: inputShape))
  }
}
