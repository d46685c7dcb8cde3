import Foundation
import Kernels
import Lamina
import ReferenceKernels

extension BenchmarkSuites {
  /// Parameter updates, dropout, activations and losses on one core, in the L2 cache: textbook loops and the kernels.
  ///
  /// The bound is the rate of a plain copy between the case's own vectors, in turn with the kernel: on pages that lie
  /// elsewhere in the L2 cache a copy takes up to a quarter more or less. What writes less than it reads may pass it.
  /// Elementary functions are compared with a loop over libm.
  public func optimizers() throws {
    try updates(as: Float.self)
    try updates(as: Double.self)
    try passes(as: Float.self)
    try passes(as: Double.self)
    for function in ElementaryFunction<Float>.all { try elementary(function) }
    for function in ElementaryFunction<Double>.all { try elementary(function) }
    for (rows, columns) in [(32, 10), (1024, 10), (64, 1000)] {
      try crossEntropy(rows, columns, as: Float.self, naive: crossEntropyLoop)
      try crossEntropy(rows, columns, as: Double.self, naive: crossEntropyLoop)
    }
  }

  /// Bytes of all vectors of a case together.
  private static var workingSet: Int { 512 << 10 }

  /// Measures both variants; `error` runs one of them on fresh data first.
  ///
  /// `copies` move whole vectors, as many bytes read as written, over memory that is no kernel's only source.
  private func variants<Scalar: NetworkScalar>(
    _ name: String, as type: Scalar.Type, moved: Int, naive: Variant, lamina: Variant, copies: [VectorCopy<Scalar>]
  ) throws {
    let copy = try Scalar.kernels().measurement.streamCopy!
    let errors = (naive: naive.error(), lamina: lamina.error())
    let slow = Timing(seconds: seconds, naive.run)
    let (fast, plain) = Timing.alternating(seconds: seconds, lamina.run) {
      for each in copies { copy(each.from.pointer, each.to.pointer, each.from.count) }
    }
    let copied = copies.reduce(0) { $0 + 2 * $1.from.count * MemoryLayout<Scalar>.stride }
    let bound = plain.median * Double(moved) / Double(copied)
    let rows = [
      ("naive", slow, errors.naive, naive.units), ("lamina", fast, errors.lamina, lamina.units),
    ].map { variant, timing, error, units in
      var row = BenchmarkRow(
        suite: "optimizers", name: "\(name), \(Scalar.precisionName)", variant: variant, threads: 1, timing: timing,
        maxError: error, bound: units * Double(Scalar.ulpOfOne))
      row.gbPerSecond = Double(moved) / timing.median * 1e-3
      row.fractionOfBound = bound / timing.median
      return row
    }
    try report(variants: rows)
  }

  // MARK: Updates

  private func updates<Scalar: NetworkScalar>(as type: Scalar.Type) throws {
    let kernels = try Scalar.kernels().optimizers
    for update in OptimizerUpdate.allCases {
      try ScratchMemory.scope {
        let count = Self.workingSet / MemoryLayout<Scalar>.stride / update.vectors
        let exact = UpdateState<Double>(copying: UpdateState<Scalar>(count))
        exact.runNaive(update)
        func variant(_ state: UpdateState<Scalar>, _ run: @escaping (UpdateState<Scalar>) -> Void) -> Variant {
          // A dozen roundings, of terms that are as large as the largest weight or moment.
          return Variant(units: 12) {
            run(state)
            return state.error(from: exact)
          } run: {
            run(state)
          }
        }
        let state = UpdateState<Scalar>(count)
        try variants(
          "\(update.rawValue), \(count) parameters", as: type,
          moved: count * update.moved * MemoryLayout<Scalar>.stride,
          naive: variant(UpdateState(count)) { $0.runNaive(update) },
          lamina: variant(state) { $0.run(update, kernels) }, copies: state.copies(update))
      }
    }
  }

  // MARK: Dropout, bias and activation

  private func passes<Scalar: NetworkScalar>(as type: Scalar.Type) throws {
    let kernels = try Scalar.kernels()
    let columns = 128
    let rows = Self.workingSet / 2 / MemoryLayout<Scalar>.stride / columns
    let bytes = rows * columns * MemoryLayout<Scalar>.stride
    try ScratchMemory.scope {
      let x = ScratchMatrix<Scalar>(normal: rows, columns, seed: 1)
      let bias = ScratchMatrix<Scalar>(normal: 1, columns, seed: 2)
      let y = ScratchMatrix<Scalar>(rows, columns)
      let exact = ScratchMatrix<Double>(rows, columns)
      let x64 = x.converted(to: Double.self)
      func variant(_ run: @escaping () -> Void) -> Variant {
        // One rounding of the factor or the sum, one of the result, and the term is the largest result.
        Variant(units: 3) {
          run()
          return y.largestDifference(from: exact) / exact.largest
        } run: {
          run()
        }
      }
      ReferenceKernels.dropout(x64.view, exact.view, 0.3, 7, 0)
      try variants(
        "dropout, \(rows)×\(columns)", as: type, moved: 2 * bytes,
        naive: variant { ReferenceKernels.dropout(x.view, y.view, 0.3, 7, 0) },
        lamina: variant { kernels.dropout.apply(x.view, y.view, 0.3, 7, 0) }, copies: [VectorCopy(from: x, to: y)])

      let bias64 = bias.converted(to: Double.self)
      ReferenceKernels.activate(x64.view, bias: bias64.pointer, into: exact.view, kind: .relu, alpha: 0)
      try variants(
        "bias + relu, \(rows)×\(columns)", as: type, moved: 2 * bytes,
        naive: variant { biasAndReLULoop(x.view, bias.pointer, y.view) },
        lamina: variant { kernels.activations.forward(x.view, bias.pointer, y.view, .relu, 0) },
        copies: [VectorCopy(from: x, to: y)])
    }
  }

  // MARK: Elementary functions

  private func elementary<Scalar: NetworkScalar>(_ function: ElementaryFunction<Scalar>) throws {
    let kernel = function.kernel(try Scalar.kernels().activations)
    // A vector and its result take half of an L1 cache.
    let count = (24 << 10) / 2 / MemoryLayout<Scalar>.stride
    try ScratchMemory.scope {
      let range = function.range
      let x = ScratchMatrix<Scalar>(1, count) { _, column in
        range.lowerBound + (range.upperBound - range.lowerBound) * (Double(column) + 0.37) / Double(count)
      }
      let y = ScratchMatrix<Scalar>(1, count)
      func variant(_ units: Double, _ run: @escaping () -> Void) -> Variant {
        Variant(units: units) {
          run()
          return (0..<count).reduce(0.0) { worst, i in
            let exact = function.exact(Double(x.pointer[i]))
            return max(worst, abs(Double(y.pointer[i]) - exact) / abs(exact))
          }
        } run: {
          run()
        }
      }
      // The oracle is libm in Double, itself up to an ulp off; 1/(1 + e⁻ˣ) as it stands loses up to 4.
      let own = Scalar.self == Double.self ? 3.0 : 2.0
      let bytes = 2 * count * MemoryLayout<Scalar>.stride
      try variants(
        "\(function.name), \(count)", as: Scalar.self, moved: bytes,
        naive: variant(4) { function.loop(x.pointer, y.pointer, count) },
        lamina: variant(own) { kernel(x.pointer, y.pointer, count) }, copies: [VectorCopy(from: x, to: y)])
    }
  }

  // MARK: Softmax and cross-entropy

  private func crossEntropy<Scalar: NetworkScalar>(
    _ rows: Int, _ columns: Int, as type: Scalar.Type,
    naive: @escaping (MatrixView<Scalar>, [Int32], MatrixView<Scalar>, Scalar) -> Double
  ) throws {
    let kernels = try Scalar.kernels().losses
    try ScratchMemory.scope {
      let x = ScratchMatrix<Scalar>(normal: rows, columns, seed: 1)
      let slope = ScratchMatrix<Scalar>(rows, columns)
      let exact = ScratchMatrix<Double>(rows, columns)
      let labels = (0..<rows).map { Int32($0 * 7 % columns) }
      let scale = 1 / Double(rows)
      let x64 = x.converted(to: Double.self)
      let exactLoss = ReferenceKernels.sparseCategoricalFromLogits(x64.view, labels, nil, exact.view, scale).loss
      func variant(_ units: Double, _ run: @escaping () -> Double) -> Variant {
        Variant(units: units) {
          let loss = run()
          // x − max is rounded: a share of up to the range of a row, at most twice the largest logit.
          let term = 1 + 2 * x.largest
          return max(
            slope.largestDifference(from: exact) / (scale * term),
            abs(loss - exactLoss) / (exactLoss + Double(rows) * term))
        } run: {
          _ = run()
        }
      }
      // The sum over a row rounds once a column in a plain loop, once for each lane's share in the kernel.
      let bytes = rows * columns * MemoryLayout<Scalar>.stride
      try variants(
        "softmax + cross-entropy, \(rows)×\(columns)", as: type, moved: 2 * bytes,
        naive: variant(Double(columns) + 24) { naive(x.view, labels, slope.view, Scalar(scale)) },
        lamina: variant(Double(columns) / 8 + 24) {
          kernels.sparseCategoricalFromLogits(x.view, labels, nil, slope.view, scale).loss
        }, copies: [VectorCopy(from: x, to: slope)])
    }
  }
}

/// One way to compute a case: `error` computes it once and compares, `run` computes it.
private struct Variant {
  /// The most that its error may be, in units of rounding.
  let units: Double
  let error: () -> Double
  let run: () -> Void

  init(units: Double, error: @escaping () -> Double, run: @escaping () -> Void) {
    (self.units, self.error, self.run) = (units, error, run)
  }
}

/// A vector of a case and another of the same length that it may be copied to.
private struct VectorCopy<Scalar: BinaryFloatingPoint> {
  let from, to: ScratchMatrix<Scalar>
}

// MARK: Updates

private enum OptimizerUpdate: String, CaseIterable {
  case adam, sgd, momentum, rmsprop

  /// Vectors that it reads.
  var vectors: Int {
    switch self {
    case .adam: 4
    case .sgd: 2
    case .momentum, .rmsprop: 3
    }
  }

  /// Vectors that it reads and, but for the gradient, writes.
  var moved: Int { 2 * vectors - 1 }
}

/// Weights, gradients and moments.
private struct UpdateState<Scalar: KernelScalar> {
  let w, g, first, second: ScratchMatrix<Scalar>

  init(_ count: Int) {
    (w, g) = (ScratchMatrix(normal: 1, count, seed: 1), ScratchMatrix(normal: 1, count, seed: 2))
    first = ScratchMatrix(normal: 1, count, seed: 3)
    second = ScratchMatrix(1, count) { _, column in 0.25 + Double(column % 64) / 64 }
  }

  init<Other: KernelScalar>(copying other: UpdateState<Other>) {
    (w, g) = (other.w.converted(), other.g.converted())
    (first, second) = (other.first.converted(), other.second.converted())
  }

  func runNaive(_ update: OptimizerUpdate) {
    let count = w.count
    switch update {
    case .adam:
      ReferenceKernels.adam(
        w.pointer, g.pointer, first.pointer, second.pointer, count, 1e-3, 0.9, 0.999, 1e-7, 1)
    case .sgd: ReferenceKernels.sgd(w.pointer, g.pointer, count, 1e-3, 1)
    case .momentum: ReferenceKernels.momentum(w.pointer, g.pointer, first.pointer, count, 1e-3, 0.9, false, 1)
    case .rmsprop:
      ReferenceKernels.rmsprop(w.pointer, g.pointer, second.pointer, nil, nil, count, 1e-3, 0.9, 0, 1e-7, 1)
    }
  }

  func run(_ update: OptimizerUpdate, _ kernels: OptimizerKernels<Scalar>) {
    let count = w.count
    switch update {
    case .adam:
      kernels.adam(w.pointer, g.pointer, first.pointer, second.pointer, count, 1e-3, 0.9, 0.999, 1e-7, 1)
    case .sgd: kernels.sgd(w.pointer, g.pointer, count, 1e-3, 1)
    case .momentum: kernels.momentum(w.pointer, g.pointer, first.pointer, count, 1e-3, 0.9, false, 1)
    case .rmsprop: kernels.rmsprop(w.pointer, g.pointer, second.pointer, nil, nil, count, 1e-3, 0.9, 0, 1e-7, 1)
    }
  }

  /// Copies over the vectors that `update` reads and writes; gradients and squares stay what they are.
  func copies(_ update: OptimizerUpdate) -> [VectorCopy<Scalar>] {
    switch update {
    case .adam: [VectorCopy(from: g, to: w), VectorCopy(from: second, to: first)]
    case .sgd: [VectorCopy(from: g, to: w)]
    case .momentum: [VectorCopy(from: g, to: w), VectorCopy(from: first, to: w)]
    case .rmsprop: [VectorCopy(from: g, to: w), VectorCopy(from: second, to: w)]
    }
  }

  /// The largest error, relative to the largest weight or moment.
  func error(from exact: UpdateState<Double>) -> Double {
    let pairs = [(w, exact.w), (first, exact.first), (second, exact.second)]
    return pairs.map { $0.largestDifference(from: $1) / $1.largest }.reduce(0, max)
  }
}

// MARK: Textbook loops

private func biasAndReLULoop<Scalar: KernelScalar>(
  _ x: MatrixView<Scalar>, _ bias: UnsafePointer<Scalar>, _ y: MatrixView<Scalar>
) {
  for row in 0..<x.rows {
    for column in 0..<x.columns {
      y.base[row * y.stride + column] = max(x.base[row * x.stride + column] + bias[column], 0)
    }
  }
}

/// An elementary function: the kernel, a loop over libm, and the exact value.
private struct ElementaryFunction<Scalar: KernelScalar> {
  typealias Loop = (UnsafePointer<Scalar>, UnsafeMutablePointer<Scalar>, Int) -> Void
  let name: String
  let range: ClosedRange<Double>
  let kernel: (ActivationKernels<Scalar>) -> Loop
  let loop: Loop
  let exact: (Double) -> Double

  init(
    _ name: String, _ range: ClosedRange<Double>, _ kernel: @escaping (ActivationKernels<Scalar>) -> Loop,
    _ loop: @escaping Loop, _ exact: @escaping (Double) -> Double
  ) {
    (self.name, self.range, self.kernel, self.loop, self.exact) = (name, range, kernel, loop, exact)
  }
}

private func exactLogistic(_ x: Double) -> Double { x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)) }

extension ElementaryFunction where Scalar == Float {
  static var all: [ElementaryFunction] {
    [
      ElementaryFunction("exp", -10...10, { $0.exponential }, { for i in 0..<$2 { $1[i] = exp($0[i]) } }) { exp($0) },
      ElementaryFunction("tanh", -5...5, { $0.hyperbolicTangent }, { for i in 0..<$2 { $1[i] = tanh($0[i]) } }) {
        tanh($0)
      },
      ElementaryFunction(
        "sigmoid", -10...10, { $0.logistic }, { for i in 0..<$2 { $1[i] = 1 / (1 + exp(-$0[i])) } }, exactLogistic),
      ElementaryFunction("log", 0.001...10, { $0.logarithm }, { for i in 0..<$2 { $1[i] = log($0[i]) } }) { log($0) },
    ]
  }
}

extension ElementaryFunction where Scalar == Double {
  static var all: [ElementaryFunction] {
    [
      ElementaryFunction("exp", -10...10, { $0.exponential }, { for i in 0..<$2 { $1[i] = exp($0[i]) } }) { exp($0) },
      ElementaryFunction("tanh", -5...5, { $0.hyperbolicTangent }, { for i in 0..<$2 { $1[i] = tanh($0[i]) } }) {
        tanh($0)
      },
      ElementaryFunction(
        "sigmoid", -10...10, { $0.logistic }, { for i in 0..<$2 { $1[i] = 1 / (1 + exp(-$0[i])) } }, exactLogistic),
      ElementaryFunction("log", 0.001...10, { $0.logarithm }, { for i in 0..<$2 { $1[i] = log($0[i]) } }) { log($0) },
    ]
  }
}

/// The loss of each row and its gradient, by the formula.
private func crossEntropyLoop(
  _ x: MatrixView<Float>, _ labels: [Int32], _ gradient: MatrixView<Float>, _ scale: Float
) -> Double {
  crossEntropyLoop(x, labels, gradient, scale, { exp($0) }, { log($0) })
}

private func crossEntropyLoop(
  _ x: MatrixView<Double>, _ labels: [Int32], _ gradient: MatrixView<Double>, _ scale: Double
) -> Double {
  crossEntropyLoop(x, labels, gradient, scale, { exp($0) }, { log($0) })
}

@inline(__always)
private func crossEntropyLoop<Scalar: KernelScalar>(
  _ x: MatrixView<Scalar>, _ labels: [Int32], _ gradient: MatrixView<Scalar>, _ scale: Scalar,
  _ exponential: (Scalar) -> Scalar, _ logarithm: (Scalar) -> Scalar
) -> Double {
  var loss = 0.0
  for row in 0..<x.rows {
    let line = x.base + row * x.stride
    let slope = gradient.base + row * gradient.stride
    let label = Int(labels[row])
    var largest = line[0]
    for column in 1..<x.columns { largest = max(largest, line[column]) }
    var sum: Scalar = 0
    for column in 0..<x.columns {
      slope[column] = exponential(line[column] - largest)
      sum += slope[column]
    }
    for column in 0..<x.columns { slope[column] = slope[column] / sum * scale }
    slope[label] -= scale
    loss += Double(logarithm(sum) - (line[label] - largest))
  }
  return loss
}
