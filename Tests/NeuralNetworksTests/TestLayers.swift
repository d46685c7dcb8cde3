import LinearAlgebra
import NeuralNetworks

/// Adds a trainable offset to every element of a batch of a fixed size: its gradient is that of the layer's output.
struct Offset<Scalar: NetworkScalar>: CustomLayer {
  let rows: Int
  let columns: Int
  let name: String?

  init(rows: Int, columns: Int, name: String? = nil) {
    self.rows = rows
    self.columns = columns
    self.name = name
  }

  func outputShape(inputShape: [Int]) throws -> [Int] { inputShape }

  func parameters(inputShape: [Int]) throws -> [ParameterSpecification] {
    [ParameterSpecification(name: "values", shape: [rows, columns], initializer: .zeros)]
  }

  func forward(_ input: MatrixView<Scalar>, parameters: [MatrixView<Scalar>], output: MatrixView<Scalar>, mode: Mode) {
    for row in 0..<input.rows {
      for column in 0..<input.columns {
        output[row, column] = input[row, column] + parameters[0][row, column]
      }
    }
  }

  func backward(
    input: MatrixView<Scalar>, output: MatrixView<Scalar>, outputGradient: MatrixView<Scalar>,
    parameters: [MatrixView<Scalar>], inputGradient: MatrixView<Scalar>, parameterGradients: [MatrixView<Scalar>]
  ) {
    for row in 0..<input.rows {
      for column in 0..<input.columns {
        parameterGradients[0][row, column] = outputGradient[row, column]
        inputGradient[row, column] = outputGradient[row, column]
      }
    }
  }
}

/// Passes its input on, and sends a given gradient back in place of the loss's: what is before it then has the gradients
/// of Σ gradient·y.
struct GivenGradient<Scalar: NetworkScalar>: CustomLayer {
  let gradient: [Double]

  func outputShape(inputShape: [Int]) throws -> [Int] { inputShape }

  func forward(_ input: MatrixView<Scalar>, parameters: [MatrixView<Scalar>], output: MatrixView<Scalar>, mode: Mode) {
    for row in 0..<input.rows {
      for column in 0..<input.columns { output[row, column] = input[row, column] }
    }
  }

  func backward(
    input: MatrixView<Scalar>, output: MatrixView<Scalar>, outputGradient: MatrixView<Scalar>,
    parameters: [MatrixView<Scalar>], inputGradient: MatrixView<Scalar>, parameterGradients: [MatrixView<Scalar>]
  ) {
    for row in 0..<input.rows {
      for column in 0..<input.columns { inputGradient[row, column] = Scalar(gradient[row * input.columns + column]) }
    }
  }
}

/// y = scale·x² + shift with one scale and one shift per feature, and a running count of the samples seen: a user's layer
/// with trainable and other parameters.
struct ScaledSquare<Scalar: NetworkScalar>: CustomLayer {
  var name: String?

  init(name: String? = nil) { self.name = name }

  func outputShape(inputShape: [Int]) throws -> [Int] { inputShape }

  func parameters(inputShape: [Int]) throws -> [ParameterSpecification] {
    let features = [inputShape[inputShape.count - 1]]
    return [
      ParameterSpecification(name: "scale", shape: features, initializer: .ones),
      ParameterSpecification(name: "seen", shape: [1], initializer: .zeros, isTrainable: false),
      ParameterSpecification(name: "shift", shape: features, initializer: .zeros),
    ]
  }

  func forward(_ input: MatrixView<Scalar>, parameters: [MatrixView<Scalar>], output: MatrixView<Scalar>, mode: Mode) {
    if mode == .training { parameters[1][0, 0] += Scalar(input.rows) }
    for row in 0..<input.rows {
      for column in 0..<input.columns {
        let x = input[row, column]
        output[row, column] = parameters[0][0, column] * x * x + parameters[2][0, column]
      }
    }
  }

  func backward(
    input: MatrixView<Scalar>, output: MatrixView<Scalar>, outputGradient: MatrixView<Scalar>,
    parameters: [MatrixView<Scalar>], inputGradient: MatrixView<Scalar>, parameterGradients: [MatrixView<Scalar>]
  ) {
    for column in 0..<input.columns {
      var scale: Scalar = 0
      var shift: Scalar = 0
      for row in 0..<input.rows {
        let x = input[row, column]
        let dy = outputGradient[row, column]
        scale += dy * x * x
        shift += dy
        inputGradient[row, column] = 2 * dy * parameters[0][0, column] * x
      }
      parameterGradients[0][0, column] = scale
      parameterGradients[2][0, column] = shift
    }
  }
}

extension MatrixView {
  /// Element (row, column).
  subscript(row: Int, column: Int) -> Scalar {
    get { base[row * stride + column] }
    nonmutating set { base[row * stride + column] = newValue }
  }
}
