import Foundation
import KernelInterface

// Losses with their gradients, as in `LossKernels`: each row's loss and slopes by the formula, nothing shared.
extension ReferenceKernels {
  /// −log softmax(logits)[label].
  @inlinable
  public static func sparseCategoricalFromLogits<T: BinaryFloatingPoint>(
    _ x: MatrixView<T>, _ labels: UnsafePointer<Int32>, _ weights: UnsafePointer<T>?, _ gradient: MatrixView<T>?,
    _ scale: Double
  ) -> LossSums {
    overRows(x, weights, gradient, scale) { row, z, slopes in
      let label = Int(labels[row])
      let p = softmax(z)
      for c in z.indices { slopes[c] = p[c] - (c == label ? 1 : 0) }
      return (logSumExp(z) - z[label], argmax(z) == label)
    }
  }

  /// −Σ t·log softmax(logits), a term being 0 where t is.
  @inlinable
  public static func categoricalFromLogits<T: BinaryFloatingPoint>(
    _ x: MatrixView<T>, _ targets: MatrixView<T>, _ weights: UnsafePointer<T>?, _ gradient: MatrixView<T>?,
    _ scale: Double
  ) -> LossSums {
    overRows(x, weights, gradient, scale) { row, z, slopes in
      let t = rowOf(targets, row)
      let p = softmax(z)
      let mass = t.reduce(0, +)
      let level = logSumExp(z)
      var loss: T = 0
      for c in z.indices {
        if t[c] != 0 { loss += t[c] * (level - z[c]) }
        slopes[c] = p[c] * mass - t[c]
      }
      return (loss, argmax(z) == argmax(t))
    }
  }

  /// −log of p[label]/Σp clipped to [1e-7, 1 − 1e-7].
  @inlinable
  public static func sparseCategoricalFromProbabilities<T: BinaryFloatingPoint>(
    _ p: MatrixView<T>, _ labels: UnsafePointer<Int32>, _ weights: UnsafePointer<T>?, _ gradient: MatrixView<T>?,
    _ scale: Double
  ) -> LossSums {
    overRows(p, weights, gradient, scale) { row, z, slopes in
      let label = Int(labels[row])
      let sum = z.reduce(0, +)
      let q = z[label] / sum
      for c in z.indices { slopes[c] = isClipped(q) ? 0 : (1 - (c == label ? 1 / q : 0)) / sum }
      return (-logarithm(clipped(q)), argmax(z) == label)
    }
  }

  /// −Σ t·log of p/Σp clipped to [1e-7, 1 − 1e-7].
  @inlinable
  public static func categoricalFromProbabilities<T: BinaryFloatingPoint>(
    _ p: MatrixView<T>, _ targets: MatrixView<T>, _ weights: UnsafePointer<T>?, _ gradient: MatrixView<T>?,
    _ scale: Double
  ) -> LossSums {
    overRows(p, weights, gradient, scale) { row, z, slopes in
      let t = rowOf(targets, row)
      let sum = z.reduce(0, +)
      var (loss, mass): (T, T) = (0, 0)
      for c in z.indices {
        loss -= t[c] * logarithm(clipped(z[c] / sum))
        if !isClipped(z[c] / sum) { mass += t[c] }
      }
      for c in z.indices { slopes[c] = (mass - (isClipped(z[c] / sum) ? 0 : t[c] / (z[c] / sum))) / sum }
      return (loss, argmax(z) == argmax(t))
    }
  }

  /// Mean over columns of max(x, 0) − x·t + log(1 + e^−|x|).
  @inlinable
  public static func binaryFromLogits<T: BinaryFloatingPoint>(
    _ x: MatrixView<T>, _ targets: MatrixView<T>, _ weights: UnsafePointer<T>?, _ gradient: MatrixView<T>?,
    _ scale: Double
  ) -> LossSums {
    overRows(x, weights, gradient, scale) { row, z, slopes in
      let (t, n) = (rowOf(targets, row), T(z.count))
      var (loss, right): (T, Bool) = (0, true)
      for c in z.indices {
        loss += (max(z[c], 0) - z[c] * t[c] + T(log1p(exp(-Double(abs(z[c])))))) / n
        slopes[c] = (1 / (1 + exponential(-z[c])) - t[c]) / n
        right = right && (z[c] > 0) == (t[c] > 0.5)
      }
      return (loss, right)
    }
  }

  /// Mean over columns of −t·log p − (1 − t)·log(1 − p), p clipped to [1e-7, 1 − 1e-7].
  @inlinable
  public static func binaryFromProbabilities<T: BinaryFloatingPoint>(
    _ p: MatrixView<T>, _ targets: MatrixView<T>, _ weights: UnsafePointer<T>?, _ gradient: MatrixView<T>?,
    _ scale: Double
  ) -> LossSums {
    overRows(p, weights, gradient, scale) { row, z, slopes in
      let (t, n) = (rowOf(targets, row), T(z.count))
      var (loss, right): (T, Bool) = (0, true)
      for c in z.indices {
        let q = clipped(z[c])
        loss -= (t[c] * logarithm(q) + (1 - t[c]) * logarithm(1 - q)) / n
        slopes[c] = isClipped(z[c]) ? 0 : ((1 - t[c]) / (1 - q) - t[c] / q) / n
        right = right && (z[c] > 0.5) == (t[c] > 0.5)
      }
      return (loss, right)
    }
  }

  /// Mean over columns of (p − t)².
  @inlinable
  public static func meanSquaredError<T: BinaryFloatingPoint>(
    _ p: MatrixView<T>, _ targets: MatrixView<T>, _ weights: UnsafePointer<T>?, _ gradient: MatrixView<T>?,
    _ scale: Double
  ) -> LossSums {
    overRows(p, weights, gradient, scale) { row, z, slopes in
      let (t, n) = (rowOf(targets, row), T(z.count))
      var loss: T = 0
      for c in z.indices {
        loss += (z[c] - t[c]) * (z[c] - t[c]) / n
        slopes[c] = 2 * (z[c] - t[c]) / n
      }
      return (loss, false)
    }
  }

  // MARK: Parts

  /// Sums the losses of the rows, weighted, and writes their slopes times `scale` and weight.
  @inlinable
  static func overRows<T: BinaryFloatingPoint>(
    _ x: MatrixView<T>, _ weights: UnsafePointer<T>?, _ gradient: MatrixView<T>?, _ scale: Double,
    _ rowLoss: (Int, [T], inout [T]) -> (loss: T, correct: Bool)
  ) -> LossSums {
    var sums = LossSums(loss: 0, correct: 0)
    var slopes = [T](repeating: 0, count: x.columns)
    for row in 0..<x.rows {
      let (loss, correct) = rowLoss(row, rowOf(x, row), &slopes)
      let weight = weights?[row] ?? 1
      sums.loss += Double(weight) * Double(loss)
      if correct && !loss.isNaN { sums.correct += 1 }
      guard let gradient else { continue }
      for c in 0..<x.columns { gradient.base[row * gradient.stride + c] = slopes[c] * T(scale) * weight }
    }
    return sums
  }

  @inlinable
  static func rowOf<T>(_ x: MatrixView<T>, _ row: Int) -> [T] {
    (0..<x.columns).map { x.base[row * x.stride + $0] }
  }

  @inlinable
  static func argmax<T: BinaryFloatingPoint>(_ row: [T]) -> Int {
    var best = 0
    for c in row.indices where row[c] > row[best] { best = c }
    return best
  }

  @inlinable
  static func softmax<T: BinaryFloatingPoint>(_ row: [T]) -> [T] {
    let largest = row[argmax(row)]
    let exponentials = row.map { exponential($0 - largest) }
    let sum = exponentials.reduce(0, +)
    return exponentials.map { $0 / sum }
  }

  @inlinable
  static func logSumExp<T: BinaryFloatingPoint>(_ row: [T]) -> T {
    let largest = row[argmax(row)]
    return largest + logarithm(row.map { exponential($0 - largest) }.reduce(0, +))
  }

  @inlinable
  static func exponential<T: BinaryFloatingPoint>(_ x: T) -> T { T(exp(Double(x))) }

  @inlinable
  static func logarithm<T: BinaryFloatingPoint>(_ x: T) -> T { T(log(Double(x))) }

  @inlinable
  static func clipped<T: BinaryFloatingPoint>(_ p: T) -> T { p < 1e-7 ? 1e-7 : p > 1 - 1e-7 ? 1 - 1e-7 : p }

  @inlinable
  static func isClipped<T: BinaryFloatingPoint>(_ p: T) -> Bool { p < 1e-7 || p > 1 - 1e-7 }
}
