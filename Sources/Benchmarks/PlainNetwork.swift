import Foundation
import Kernels
import Lamina
import ReferenceKernels

/// A dense classifier trained by plain code: what the compiled step is measured against and checked by.
///
/// Starts from the parameters of a built `Sequential` of the same recipe. Lives within a `ScratchMemory.scope`.
final class PlainNetwork<Scalar: NetworkScalar> {
  /// How the network computes.
  enum Style {
    /// The textbook's loops of `ReferenceKernels`; in Double the oracle.
    case textbook
    /// One call of BLAS for each product, on its own threads, and `UnfusedPasses` for the rest.
    case unfused
  }

  /// A parameter with its gradient and the optimizer's vectors.
  struct Parameter {
    let name: String
    let values: ScratchMatrix<Scalar>
    let gradient: ScratchMatrix<Scalar>
    let first: ScratchMatrix<Scalar>
    let second: ScratchMatrix<Scalar>
  }

  private enum Operation {
    case dense(kernel: Parameter, bias: Parameter?)
    case activation(ElementwiseActivation, alpha: Double)
    case normalization(PlainNormalization<Scalar>)
  }

  private(set) var parameters: [Parameter] = []
  private var operations: [Operation] = []
  /// The input, then the output of each operation.
  private var values: [ScratchMatrix<Scalar>]
  /// The gradient with respect to each of them.
  private var gradients: [ScratchMatrix<Scalar>]
  private let labels: UnsafeMutablePointer<Int32>
  private let style: Style
  private let kernels: KernelTable<Scalar>
  private let rows: Int
  private var steps = 0

  /// The network of `recipe` for batches of `rows` samples, with the parameters of `model`.
  ///
  /// - Throws: `ModelError` where the model is not built, or of another recipe.
  init<Other>(
    _ style: Style, _ recipe: ClassifierRecipe, classes: Int, rows: Int, from model: Sequential<Other>
  ) throws {
    self.style = style
    kernels = try Scalar.kernels()
    self.rows = rows
    labels = ScratchMemory.allocate(rows)
    let inputs = model.inputShape?.reduce(1, *) ?? 0
    values = [ScratchMatrix(rows, inputs)]
    gradients = [ScratchMatrix(rows, inputs)]
    for (index, width) in recipe.hiddenWidths.enumerated() {
      try addDense(index, width, useBias: recipe.normalization != .before, model)
      if recipe.normalization == .before { try addNormalization(index, width, model) }
      try addActivation(recipe.activation, width)
      if recipe.normalization == .after { try addNormalization(index, width, model) }
    }
    try addDense(recipe.hiddenWidths.count, classes, useBias: true, model)
  }

  private func add(_ operation: Operation, _ width: Int) {
    operations.append(operation)
    values.append(ScratchMatrix(rows, width))
    gradients.append(ScratchMatrix(rows, width))
  }

  private func parameter<Other>(_ name: String, _ model: Sequential<Other>) throws -> Parameter {
    let tensor = try model.parameter(name)
    let columns = tensor.shape.last ?? 1
    let scalars = tensor.scalars
    func empty() -> ScratchMatrix<Scalar> { ScratchMatrix(tensor.count / columns, columns) }
    let parameter = Parameter(
      name: name, values: ScratchMatrix(tensor.count / columns, columns) { Double(scalars[$0 * columns + $1]) },
      gradient: empty(), first: empty(), second: empty())
    parameters.append(parameter)
    return parameter
  }

  private func addDense<Other>(_ index: Int, _ width: Int, useBias: Bool, _ model: Sequential<Other>) throws {
    let name = index == 0 ? "dense" : "dense_\(index)"
    let kernel = try parameter("\(name).kernel", model)
    add(.dense(kernel: kernel, bias: useBias ? try parameter("\(name).bias", model) : nil), width)
  }

  private func addNormalization<Other>(_ index: Int, _ width: Int, _ model: Sequential<Other>) throws {
    let name = index == 0 ? "batch_normalization" : "batch_normalization_\(index)"
    let gamma = try parameter("\(name).gamma", model)
    let beta = try parameter("\(name).beta", model)
    add(.normalization(PlainNormalization(style, gamma: gamma, beta: beta, rows: rows, width: width)), width)
  }

  private func addActivation(_ activation: Activation, _ width: Int) throws {
    switch activation {
    case .linear: break
    case .relu: add(.activation(.relu, alpha: 0), width)
    case .leakyReLU(let slope): add(.activation(.leakyReLU, alpha: slope), width)
    case .elu(let alpha): add(.activation(.elu, alpha: alpha), width)
    case .selu: add(.activation(.selu, alpha: 0), width)
    case .gelu: add(.activation(.gelu, alpha: 0), width)
    case .sigmoid: add(.activation(.sigmoid, alpha: 0), width)
    case .tanh: add(.activation(.tanh, alpha: 0), width)
    case .softmax:
      throw ModelError.argument(name: "activation", problem: "softmax is for the last layer")
    }
  }

  // MARK: Step

  /// Copies the images that `indices` names, their bytes scaled to at most 1, and their labels into place.
  func gather(_ images: ImageDataset, _ indices: ArraySlice<Int32>) {
    let columns = values[0].view.columns
    images.pixels.withUnsafeBufferPointer { pixels in
      for (row, index) in indices.enumerated() {
        let from = pixels.baseAddress! + Int(index) * columns
        let to = values[0].pointer + row * columns
        for column in 0..<columns { to[column] = Scalar(from[column]) * Scalar(1 / 255.0) }
        labels[row] = images.labels[Int(index)]
      }
    }
  }

  /// The mean loss of the batch; leaves the gradients of all parameters.
  func computeGradients() -> Double {
    for (index, operation) in operations.enumerated() { forward(operation, values[index], values[index + 1]) }
    let last = operations.count
    let scale = 1 / Double(rows)
    let loss =
      switch style {
      case .textbook:
        ReferenceKernels.sparseCategoricalFromLogits(values[last].view, labels, nil, gradients[last].view, scale).loss
      case .unfused:
        UnfusedPasses<Scalar>.crossEntropy(values[last].view, labels, gradients[last].view, scale)
      }
    for index in operations.indices.reversed() {
      backward(operations[index], values[index], values[index + 1], gradients[index + 1], gradients[index], index)
    }
    return loss * scale
  }

  /// The least |input| of an activation: where it is within rounding of 0, a kink makes the gradient jump.
  var leastActivationInput: Double {
    operations.indices.reduce(Double.infinity) { least, index in
      guard case .activation = operations[index] else { return least }
      return values[index].elements.reduce(least) { min($0, Double(abs($1))) }
    }
  }

  private func forward(_ operation: Operation, _ x: ScratchMatrix<Scalar>, _ y: ScratchMatrix<Scalar>) {
    switch operation {
    case .dense(let kernel, let bias):
      multiply(x, kernel.values, into: y)
      guard let bias else { return }
      switch style {
      case .textbook:
        ReferenceKernels.activate(y.view, bias: bias.values.pointer, into: y.view, kind: .linear, alpha: 0)
      case .unfused: UnfusedPasses<Scalar>.addBias(bias.values.pointer, to: y.view)
      }
    case .activation(let kind, let alpha):
      switch style {
      case .textbook: ReferenceKernels.activate(x.view, bias: nil, into: y.view, kind: kind, alpha: alpha)
      case .unfused: kernels.activations.forward(x.view, nil, y.view, kind, alpha)
      }
    case .normalization(let normalization):
      normalization.forward(x, y)
    }
  }

  private func backward(
    _ operation: Operation, _ x: ScratchMatrix<Scalar>, _ y: ScratchMatrix<Scalar>, _ dy: ScratchMatrix<Scalar>,
    _ dx: ScratchMatrix<Scalar>, _ index: Int
  ) {
    switch operation {
    case .dense(let kernel, let bias):
      multiply(x, transposeA: true, dy, into: kernel.gradient)
      if let bias {
        switch style {
        case .textbook: ReferenceKernels.columnSums(dy.view, bias.gradient.pointer)
        case .unfused: UnfusedPasses<Scalar>.columnSums(dy.view, into: bias.gradient.pointer)
        }
      }
      // Nobody asks for the gradient of the data.
      if index > 0 { multiply(dy, kernel.values, transposeB: true, into: dx) }
    case .activation(let kind, let alpha):
      switch style {
      case .textbook: ReferenceKernels.activateBackward(dy.view, input: x.view, into: dx.view, kind: kind, alpha: alpha)
      case .unfused:
        let saved = kind.gradientNeedsInput ? x.view : y.view
        kernels.activations.backward(dy.view, saved, dx.view, kind, alpha)
      }
    case .normalization(let normalization):
      normalization.backward(dy, x, dx)
    }
  }

  private func multiply(
    _ a: ScratchMatrix<Scalar>, transposeA: Bool = false, _ b: ScratchMatrix<Scalar>, transposeB: Bool = false,
    into c: ScratchMatrix<Scalar>
  ) {
    switch style {
    case .textbook:
      ReferenceKernels.multiply(a.view, transposeA: transposeA, b.view, transposeB: transposeB, into: c.view)
    case .unfused:
      UnfusedPasses.multiply(a.view, transposeA: transposeA, b.view, transposeB: transposeB, into: c.view)
    }
  }

  /// Moves all parameters against their gradients.
  func update(_ rule: UpdateRule) {
    steps += 1
    for parameter in parameters {
      switch style {
      case .textbook: updateByLoops(parameter, rule)
      case .unfused: updateByKernels(parameter, rule)
      }
    }
  }

  private func updateByLoops(_ parameter: Parameter, _ rule: UpdateRule) {
    let (w, g, count) = (parameter.values.pointer, parameter.gradient.pointer, parameter.values.count)
    let (first, second) = (parameter.first.pointer, parameter.second.pointer)
    switch rule.at(step: steps) {
    case .sgd(let rate):
      ReferenceKernels.sgd(w, g, count, rate, 1)
    case .momentum(let rate, let momentum, let nesterov):
      ReferenceKernels.momentum(w, g, first, count, rate, momentum, nesterov, 1)
    case .adam(let rate, let beta1, let beta2, let epsilon, let weightDecay):
      ReferenceKernels.adam(
        w, g, first, second, count, rate * correction(beta1, beta2), beta1, beta2, epsilon, 1 - rate * weightDecay)
    case .adamCorrectingEpsilon: break  // `at(step:)` has made it Keras's form
    case .rmsprop(let rate, let rho, let momentum, let epsilon, _):
      ReferenceKernels.rmsprop(
        w, g, first, momentum > 0 ? second : nil, nil, count, rate, rho, momentum, epsilon, 1)
    }
  }

  private func updateByKernels(_ parameter: Parameter, _ rule: UpdateRule) {
    let (w, g, count) = (parameter.values.pointer, parameter.gradient.pointer, parameter.values.count)
    let (first, second) = (parameter.first.pointer, parameter.second.pointer)
    switch rule.at(step: steps) {
    case .sgd(let rate):
      kernels.optimizers.sgd(w, g, count, rate, 1)
    case .momentum(let rate, let momentum, let nesterov):
      kernels.optimizers.momentum(w, g, first, count, rate, momentum, nesterov, 1)
    case .adam(let rate, let beta1, let beta2, let epsilon, let weightDecay):
      kernels.optimizers.adam(
        w, g, first, second, count, rate * correction(beta1, beta2), beta1, beta2, epsilon, 1 - rate * weightDecay)
    case .adamCorrectingEpsilon: break  // `at(step:)` has made it Keras's form
    case .rmsprop(let rate, let rho, let momentum, let epsilon, _):
      kernels.optimizers.rmsprop(
        w, g, first, momentum > 0 ? second : nil, nil, count, rate, rho, momentum, epsilon, 1)
    }
  }

  /// Adam's correction of both moments' bias.
  private func correction(_ beta1: Double, _ beta2: Double) -> Double {
    (1 - pow(beta2, Double(steps))).squareRoot() / (1 - pow(beta1, Double(steps)))
  }
}

/// A batch normalization of a `PlainNetwork`, with what its backward pass needs.
final class PlainNormalization<Scalar: NetworkScalar> {
  private let style: PlainNetwork<Scalar>.Style
  private let gamma: PlainNetwork<Scalar>.Parameter
  private let beta: PlainNetwork<Scalar>.Parameter
  private let mean: ScratchMatrix<Scalar>
  private let variance: ScratchMatrix<Scalar>
  private let inverse: ScratchMatrix<Scalar>
  private let normalized: ScratchMatrix<Scalar>

  init(
    _ style: PlainNetwork<Scalar>.Style, gamma: PlainNetwork<Scalar>.Parameter, beta: PlainNetwork<Scalar>.Parameter,
    rows: Int, width: Int
  ) {
    self.style = style
    self.gamma = gamma
    self.beta = beta
    (mean, variance, inverse) = (ScratchMatrix(1, width), ScratchMatrix(1, width), ScratchMatrix(1, width))
    normalized = ScratchMatrix(style == .unfused ? rows : 0, width)
  }

  func forward(_ x: ScratchMatrix<Scalar>, _ y: ScratchMatrix<Scalar>) {
    switch style {
    case .textbook: ReferenceKernels.moments(x.view, mean: mean.pointer, variance: variance.pointer)
    case .unfused:
      UnfusedPasses<Scalar>.means(x.view, into: mean.pointer)
      UnfusedPasses<Scalar>.variances(x.view, means: mean.pointer, into: variance.pointer)
    }
    let epsilon = Scalar(BatchNormalization().epsilon)
    for column in 0..<x.view.columns { inverse[0, column] = 1 / (variance[0, column] + epsilon).squareRoot() }
    switch style {
    case .textbook:
      ReferenceKernels.normalize(
        x.view, mean: mean.pointer, inverseDeviation: inverse.pointer, gamma: gamma.values.pointer,
        beta: beta.values.pointer, into: y.view, relu: false)
    case .unfused:
      UnfusedPasses<Scalar>.normalize(x.view, mean.pointer, inverse.pointer, into: normalized.view)
      UnfusedPasses<Scalar>.scale(normalized.view, gamma.values.pointer, beta.values.pointer, into: y.view)
    }
  }

  func backward(_ dy: ScratchMatrix<Scalar>, _ x: ScratchMatrix<Scalar>, _ dx: ScratchMatrix<Scalar>) {
    switch style {
    case .textbook:
      ReferenceKernels.batchNormalizationBackward(
        dy.view, x.view, output: nil, mean: mean.pointer, inverseDeviation: inverse.pointer,
        gamma: gamma.values.pointer, dGamma: gamma.gradient.pointer, dBeta: beta.gradient.pointer, dx: dx.view,
        maskInput: false)
    case .unfused:
      UnfusedPasses<Scalar>.columnSums(dy.view, into: beta.gradient.pointer)
      UnfusedPasses<Scalar>.columnSums(dy.view, times: normalized.view, into: gamma.gradient.pointer)
      UnfusedPasses<Scalar>.normalizationGradient(
        dy.view, normalized.view, inverse.pointer, gamma.values.pointer, gamma.gradient.pointer,
        beta.gradient.pointer, into: dx.view)
    }
  }
}
