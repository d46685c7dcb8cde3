import Foundation
import KernelInterface

extension ReferenceKernels {
  /// f(x) of one element, through libm in Double.
  public static func value(_ kind: ElementwiseActivation, _ x: Double, alpha: Double) -> Double {
    switch kind {
    case .linear: x
    case .relu: x <= 0 ? 0 : x
    case .leakyReLU: x > 0 ? x : alpha * x
    case .elu: x > 0 ? x : alpha * expm1(x)
    case .selu:
      x > 0
        ? ElementwiseActivation.seluScale * x
        : ElementwiseActivation.seluScale * ElementwiseActivation.seluAlpha * expm1(x)
    case .gelu: x == -.infinity ? 0 : x * normalDistribution(x)
    case .sigmoid: x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x))
    case .tanh: Foundation.tanh(x)
    }
  }

  /// Φ(x) = ½·erfc(−x/√2).
  private static func normalDistribution(_ x: Double) -> Double {
    // What rounding −x/√2 loses counts x² times in erfc far below zero: its first-order term puts it back.
    let root = 0.5.squareRoot()
    let rootLow = -4.833646656726457e-17
    let z = -x * root
    let lost = x.isFinite ? (-z).addingProduct(-x, root) - x * rootLow : 0
    return 0.5 * erfc(z) - lost * exp(-z * z) / Double.pi.squareRoot()
  }

  /// f′(x) of one element, through libm in Double; at the kink of a piecewise f the derivative from below.
  public static func derivative(_ kind: ElementwiseActivation, _ x: Double, alpha: Double) -> Double {
    switch kind {
    case .linear: return 1
    case .relu: return x <= 0 ? 0 : 1
    case .leakyReLU: return x > 0 ? 1 : alpha
    case .elu: return x > 0 ? 1 : alpha * exp(x)
    case .selu:
      return x > 0
        ? ElementwiseActivation.seluScale
        : ElementwiseActivation.seluScale * ElementwiseActivation.seluAlpha * exp(x)
    case .gelu:
      let density = exp(-0.5 * x * x) / (2 * Double.pi).squareRoot()
      return normalDistribution(x) + (density == 0 ? 0 : x * density)
    case .sigmoid:
      let y = value(.sigmoid, x, alpha: alpha)
      return y * value(.sigmoid, -x, alpha: alpha)
    case .tanh: return 1 / (cosh(x) * cosh(x))
    }
  }

  /// y = f(x + bias), element by element; y may be x.
  @inlinable
  public static func activate<Scalar: BinaryFloatingPoint>(
    _ x: MatrixView<Scalar>, bias: UnsafePointer<Scalar>?, into y: MatrixView<Scalar>, kind: ElementwiseActivation,
    alpha: Double
  ) {
    for row in 0..<x.rows {
      for column in 0..<x.columns {
        let sum = x.base[row * x.stride + column] + (bias?[column] ?? 0)
        y.base[row * y.stride + column] = Scalar(value(kind, Double(sum), alpha: alpha))
      }
    }
  }

  /// dx = dy·f′(x), element by element; dx may be dy.
  @inlinable
  public static func activateBackward<Scalar: BinaryFloatingPoint>(
    _ dy: MatrixView<Scalar>, input x: MatrixView<Scalar>, into dx: MatrixView<Scalar>, kind: ElementwiseActivation,
    alpha: Double
  ) {
    for row in 0..<x.rows {
      for column in 0..<x.columns {
        let slope = derivative(kind, Double(x.base[row * x.stride + column]), alpha: alpha)
        dx.base[row * dx.stride + column] = dy.base[row * dy.stride + column] * Scalar(slope)
      }
    }
  }

  /// The softmax of each row, shifted by the row's maximum; y may be x.
  @inlinable
  public static func softmax<Scalar: BinaryFloatingPoint>(_ x: MatrixView<Scalar>, into y: MatrixView<Scalar>) {
    for row in 0..<x.rows {
      let xRow = x.base + row * x.stride
      let yRow = y.base + row * y.stride
      var largest = -Scalar.infinity
      for column in 0..<x.columns where xRow[column] > largest { largest = xRow[column] }
      var sum: Scalar = 0
      for column in 0..<x.columns {
        yRow[column] = Scalar(exp(Double(xRow[column] - largest)))
        sum += yRow[column]
      }
      for column in 0..<x.columns { yRow[column] /= sum }
    }
  }

  /// dx = y·(dy − Σ dy·y) by rows; dx may be dy.
  @inlinable
  public static func softmaxBackward<Scalar: BinaryFloatingPoint>(
    _ dy: MatrixView<Scalar>, _ y: MatrixView<Scalar>, into dx: MatrixView<Scalar>
  ) {
    for row in 0..<y.rows {
      var sum: Scalar = 0
      for column in 0..<y.columns { sum += dy.base[row * dy.stride + column] * y.base[row * y.stride + column] }
      for column in 0..<y.columns {
        dx.base[row * dx.stride + column] =
          y.base[row * y.stride + column] * (dy.base[row * dy.stride + column] - sum)
      }
    }
  }
}
