import LinearAlgebra

/// Layer normalization: y = γ·(x − μ)/√(σ² + ε) + β with μ and σ² over the last axis of each row (Ba, Kiros and Hinton 2016).
///
/// x is (…, features), γ and β (features); mean and biased variance are a row's own, in training and inference alike, so
/// there are no running statistics and a single row is no special case. Parameters: `gamma`, `beta` (trainable). Defaults
/// are Keras's; PyTorch's ε is 1e-5. Cost: two passes over a row in the cache and one write, forward; one member of the
/// team computes it.
public struct LayerNormalization: Layer, Equatable, Codable {
  /// Added to the variance, 1e-3 by default.
  public var epsilon: Double
  /// Whether β exists.
  public var center: Bool
  /// Whether γ exists.
  public var scale: Bool
  /// First values of β.
  public var betaInitializer: Initializer
  /// First values of γ.
  public var gammaInitializer: Initializer
  /// The layer's name, or nil for `layer_normalization`, `layer_normalization_1`, ….
  public var name: String?

  /// A layer with Keras's defaults.
  public init(
    epsilon: Double = 1e-3, center: Bool = true, scale: Bool = true, betaInitializer: Initializer = .zeros,
    gammaInitializer: Initializer = .ones, name: String? = nil
  ) {
    self.epsilon = epsilon
    self.center = center
    self.scale = scale
    self.betaInitializer = betaInitializer
    self.gammaInitializer = gammaInitializer
    self.name = name
  }

  /// The word from which names are made.
  public var kind: String { "layer_normalization" }

  /// Adds the normalization.
  ///
  /// - Throws: `ModelError.layer` where ε is negative or not finite; `InstructionSetError`.
  public func lower(into builder: inout NetworkBuilder) throws {
    guard epsilon >= 0, epsilon.isFinite else {
      throw ModelError.layer(
        name: builder.layerName, problem: "epsilon must be at least 0 and finite, not \(epsilon)")
    }
    try lower(into: &builder, builder.precision)
  }

  private func lower<Scalar: NetworkScalar>(into builder: inout NetworkBuilder, _: Scalar.Type) throws {
    let operation = try LayerNormalizationOperation<Scalar>(self, features: builder.shape[builder.shape.count - 1])
    try operation.lower(into: &builder)
  }
}

/// Layer normalization in one precision.
private struct LayerNormalizationOperation<Scalar: NetworkScalar>: CustomLayer {
  private let layer: LayerNormalization
  private let kernels: LayerNormalizationKernels<Scalar>
  // Two doubles per feature, and the gradients of γ and β that do not exist. Only `backward` writes here.
  private let workspace: AlignedBuffer<Double>
  private let unwanted: AlignedBuffer<Scalar>

  init(_ layer: LayerNormalization, features: Int) throws {
    self.layer = layer
    kernels = try Scalar.kernels().layerNormalization
    workspace = AlignedBuffer(zeroedCapacity: 2 * features)
    unwanted = AlignedBuffer(zeroedCapacity: 2 * features)
  }

  func outputShape(inputShape: [Int]) throws -> [Int] { inputShape }

  func parameters(inputShape: [Int]) throws -> [ParameterSpecification] {
    let features = [inputShape[inputShape.count - 1]]
    var result: [ParameterSpecification] = []
    if layer.scale {
      result.append(ParameterSpecification(name: "gamma", shape: features, initializer: layer.gammaInitializer))
    }
    if layer.center {
      result.append(ParameterSpecification(name: "beta", shape: features, initializer: layer.betaInitializer))
    }
    return result
  }

  /// γ and β, or their gradients, among `matrices`.
  private func gamma(_ matrices: [MatrixView<Scalar>]) -> UnsafeMutablePointer<Scalar>? {
    layer.scale ? matrices[0].base : nil
  }

  private func beta(_ matrices: [MatrixView<Scalar>]) -> UnsafeMutablePointer<Scalar>? {
    layer.center ? matrices[layer.scale ? 1 : 0].base : nil
  }

  func forward(_ input: MatrixView<Scalar>, parameters: [MatrixView<Scalar>], output: MatrixView<Scalar>, mode: Mode) {
    kernels.forward(input, gamma(parameters), beta(parameters), layer.epsilon, output)
  }

  func backward(
    input: MatrixView<Scalar>, output: MatrixView<Scalar>, outputGradient: MatrixView<Scalar>,
    parameters: [MatrixView<Scalar>], inputGradient: MatrixView<Scalar>, parameterGradients: [MatrixView<Scalar>]
  ) {
    kernels.backward(
      outputGradient, input, gamma(parameters), layer.epsilon, gamma(parameterGradients) ?? unwanted.baseAddress,
      beta(parameterGradients) ?? unwanted.baseAddress + input.columns, inputGradient, workspace.baseAddress)
  }
}
