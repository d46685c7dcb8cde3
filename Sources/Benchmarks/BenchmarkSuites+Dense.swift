import Kernels
import Lamina
import NeuralNetworks
import ReferenceKernels

extension BenchmarkSuites {
  /// One dense layer, forward and backward: textbook loops, one call of BLAS and one pass for each operation, and the
  /// tiles of a training step.
  ///
  /// y = f(x·W + b), then from dy the gradients of z, b, x and W. `sweeps` adds series in which the batch, the width
  /// or the number of threads grows.
  public func dense(sweeps: Bool = false) throws {
    try dense(DenseShape(rows: 32, inputs: 784, outputs: 128), .relu, as: Float.self)
    try dense(DenseShape(rows: 128, inputs: 512, outputs: 512), .relu, as: Float.self)
    try dense(DenseShape(rows: 32, inputs: 128, outputs: 64), .sigmoid, as: Float.self)
    if !isQuick { try dense(DenseShape(rows: 1024, inputs: 1024, outputs: 1024), .relu, as: Float.self) }
    try dense(DenseShape(rows: 32, inputs: 784, outputs: 128), .relu, as: Double.self)
    guard sweeps else { return }
    let batches = isQuick ? [1, 32, 512] : [1, 4, 16, 64, 256, 1024, 4096]
    for rows in batches {
      let sweep = Sweep(axis: .batch, value: rows, family: "784 to 128")
      try dense(DenseShape(rows: rows, inputs: 784, outputs: 128), .relu, as: Float.self, sweep)
    }
    let widths = isQuick ? [16, 128, 1024] : [16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
    for width in widths {
      let sweep = Sweep(axis: .width, value: width, family: "square, batch 32")
      try dense(DenseShape(rows: 32, inputs: width, outputs: width), .relu, as: Float.self, sweep)
    }
    for count in 1...team {
      let sweep = Sweep(axis: .threads, value: count, family: "512 to 512, batch 128")
      var suites = self
      suites.threads = count
      try suites.dense(DenseShape(rows: 128, inputs: 512, outputs: 512), .relu, as: Float.self, sweep)
    }
  }

  private func dense<Scalar: NetworkScalar>(
    _ shape: DenseShape, _ activation: Activation, as type: Scalar.Type, _ sweep: Sweep? = nil
  ) throws {
    let seconds = isQuick ? 0.05 : 0.15
    try ScratchMemory.scope {
      let data = try DenseCase<Scalar>(shape, activation, threads: team)
      let name = "\(shape.rows)×\(shape.inputs) to \(shape.outputs), \(activation.kind), \(Scalar.precisionName)"
      let singlePeak = try TeamRates.peak(as: type, threads: 1, seconds: seconds / 4)
      let peak = team == 1 ? singlePeak : try TeamRates.peak(as: type, threads: team, seconds: seconds / 4)
      let flops = 3 * shape.flops

      func row(_ variant: BenchmarkVariant, _ timing: Timing, _ error: Double) -> BenchmarkRow {
        let threads = variant == .naive ? 1 : team
        var row = BenchmarkRow(
          suite: "dense", name: name, variant: variant.rawValue, threads: threads, timing: timing, maxError: error,
          bound: data.bound)
        row.gflops = flops / timing.median * 1e-3
        row.fractionOfBound = flops / timing.median * 1e-3 / (threads == 1 ? singlePeak : peak)
        row.flopsPerByte = flops / (2 * shape.elements * Double(MemoryLayout<Scalar>.stride))
        row.sweep = sweep
        return row
      }
      var rows: [BenchmarkRow] = []
      if wants(.naive) {
        // The oracle has done a third of the work.
        let predicted = 3 * data.oracleSeconds
        if predicted > Self.longestNaiveRun {
          leftOut("dense", name, seconds: predicted)
        } else {
          rows.append(row(.naive, Timing(seconds: seconds, data.runNaive), data.errorOfPlain()))
        }
      }
      if wants(.lamina) {
        rows.append(row(.lamina, Timing(seconds: seconds, { data.layer.run(.layer) }), data.errorOfLamina()))
      }
      if wants(.unfused) {
        let timing = UnfusedPasses<Scalar>.withBLASThreads(team) { Timing(seconds: seconds, data.runUnfused) }
        rows.append(row(.unfused, timing, data.errorOfPlain()))
      }
      try report(variants: rows)
    }
  }
}

/// Sizes of a layer and its batch.
private struct DenseShape {
  var rows, inputs, outputs: Int
  /// Flops of one of the three products.
  var flops: Double { 2 * Double(rows) * Double(inputs) * Double(outputs) }
  /// Elements of input, output and kernel.
  var elements: Double { Double(rows * inputs + rows * outputs + inputs * outputs) }
}

/// A layer's operands, three ways to compute it, and the oracle's results.
private struct DenseCase<Scalar: NetworkScalar> {
  let shape: DenseShape
  let layer: DenseLayerWork<Scalar>
  private let kind: ElementwiseActivation
  private let alpha: Double
  private let kernels: ActivationKernels<Scalar>
  private let x, w, bias, dy: ScratchMatrix<Scalar>
  private let z, y, dz, dx, dw, db: ScratchMatrix<Scalar>
  private let oracle: DenseOracle
  var oracleSeconds: Double { oracle.seconds }

  init(_ shape: DenseShape, _ activation: Activation, threads: Int) throws {
    self.shape = shape
    let (m, n, k) = (shape.rows, shape.outputs, shape.inputs)
    layer = try DenseLayerWork(rows: m, inputs: k, outputs: n, activation: activation, threads: threads)
    kernels = try Scalar.kernels().activations
    (kind, alpha) = (layer.activation.kind, layer.activation.alpha)
    let x = ScratchMatrix<Scalar>(normal: m, k, seed: 1)
    let w = ScratchMatrix<Scalar>(normal: k, n, seed: 2, deviation: 1 / Double(k).squareRoot())
    let bias = ScratchMatrix<Scalar>(normal: 1, n, seed: 3)
    let dy = ScratchMatrix<Scalar>(normal: m, n, seed: 4)
    func empty(_ rows: Int, _ columns: Int) -> ScratchMatrix<Scalar> { ScratchMatrix(rows, columns) }
    (z, y, dz, dx, dw, db) = (empty(m, n), empty(m, n), empty(m, n), empty(m, k), empty(k, n), empty(1, n))
    // Sets elements of dy to 0 where the gradient may jump, so it comes before the copies.
    oracle = DenseOracle(x, w, bias, dy, kind, alpha)
    layer.input.fill { x[$0, $1] }
    layer.givenGradient.fill { dy[$0, $1] }
    layer.setKernel { w[$0, $1] }
    for column in 0..<n { layer.bias[column] = bias[0, column] }
    (self.x, self.w, self.bias, self.dy) = (x, w, bias, dy)
  }

  /// The errors that roundings explain: a sum of k products into z, carried by the slope of f into dz, and the sums of m
  /// or n products that follow; each relative to Σ|a||b|, which the roundings are relative to.
  var bound: Double {
    let largestSum = Double(shape.inputs) * max(1, oracle.forwardTerm)
    return (largestSum + Double(shape.rows + shape.outputs) + 16) * Double(Scalar.ulpOfOne)
  }

  func runNaive() {
    ReferenceKernels.multiply(x.view, w.view, into: z.view)
    ReferenceKernels.activate(z.view, bias: bias.pointer, into: y.view, kind: kind, alpha: alpha)
    // The slope is taken at z + b.
    for row in 0..<shape.rows {
      for column in 0..<shape.outputs { z[row, column] += bias[0, column] }
    }
    ReferenceKernels.activateBackward(dy.view, input: z.view, into: dz.view, kind: kind, alpha: alpha)
    ReferenceKernels.columnSums(dz.view, db.pointer)
    ReferenceKernels.multiply(dz.view, w.view, transposeB: true, into: dx.view)
    ReferenceKernels.multiply(x.view, transposeA: true, dz.view, into: dw.view)
  }

  func runUnfused() {
    typealias Passes = UnfusedPasses<Scalar>
    Passes.multiply(x.view, transposeA: false, w.view, transposeB: false, into: z.view)
    Passes.addBias(bias.pointer, to: z.view)
    kernels.forward(z.view, nil, y.view, kind, alpha)
    kernels.backward(dy.view, kind.gradientNeedsInput ? z.view : y.view, dz.view, kind, alpha)
    Passes.columnSums(dz.view, into: db.pointer)
    Passes.multiply(dz.view, transposeA: false, w.view, transposeB: true, into: dx.view)
    Passes.multiply(x.view, transposeA: true, dz.view, transposeB: false, into: dw.view)
  }

  func errorOfPlain() -> Double {
    oracle.error(y: y.view, dx: dx.view, dw: dw.view, db: db.view)
  }

  func errorOfLamina() -> Double {
    layer.copyKernelGradient(into: dw.view)
    let db = MatrixView(base: layer.biasGradient, rows: 1, columns: shape.outputs)
    return oracle.error(y: layer.output, dx: layer.inputGradient, dw: dw.view, db: db)
  }
}

/// What a layer computes, by textbook loops in Double; of the gradients of input and kernel some rows where all would
/// take long.
private struct DenseOracle {
  let seconds: Double
  /// The largest Σ|x||w| + |b|.
  let forwardTerm: Double
  private let y, db: ScratchMatrix<Double>
  private let dx, dw: ScratchMatrix<Double>
  private let dxRows, dwRows: [Int]
  private let dxTerm, dwTerm, dbTerm: Double

  init<Scalar: NetworkScalar>(
    _ x: ScratchMatrix<Scalar>, _ w: ScratchMatrix<Scalar>, _ bias: ScratchMatrix<Scalar>,
    _ dy: ScratchMatrix<Scalar>, _ kind: ElementwiseActivation, _ alpha: Double
  ) {
    let (m, n, k) = (x.view.rows, w.view.columns, x.view.columns)
    let x64 = x.converted(to: Double.self)
    let bias64 = bias.converted(to: Double.self)
    // Stored transposed, so that the loop over it reads it in order.
    let transposed = ScratchMatrix<Double>(n, k) { Double(w[$1, $0]) }
    let z = ScratchMatrix<Double>(m, n)
    let time = Timing.time { ReferenceKernels.multiply(x64.view, transposed.view, transposeB: true, into: z.view) }
    seconds = time * 1e-6
    let y = ScratchMatrix<Double>(m, n)
    ReferenceKernels.activate(z.view, bias: bias64.pointer, into: y.view, kind: kind, alpha: alpha)
    self.y = y
    // Σ|x||w| is at most the product of the rows' Euclidean norms.
    let xNorm = (0..<m).map { row in (0..<k).reduce(0) { $0 + x64[row, $1] * x64[row, $1] } }.max() ?? 0
    let wNorm = (0..<n).map { row in (0..<k).reduce(0) { $0 + transposed[row, $1] * transposed[row, $1] } }.max() ?? 0
    let forwardTerm = (xNorm * wNorm).squareRoot() + bias64.largest
    self.forwardTerm = forwardTerm

    // An input within rounding of a kink may fall on either side of it: no gradient is sent through such an element.
    let margin = Double(k) * forwardTerm * Double(Scalar.ulpOfOne)
    let isSmooth = [.gelu, .sigmoid, .tanh, .linear].contains(kind)
    let dz = ScratchMatrix<Double>(m, n)
    for row in 0..<m {
      for column in 0..<n {
        let sum = z[row, column] + bias64[0, column]
        if !isSmooth, abs(sum) < margin { dy[row, column] = 0 }
        dz[row, column] = Double(dy[row, column]) * ReferenceKernels.derivative(kind, sum, alpha: alpha)
      }
    }
    let db = ScratchMatrix<Double>(1, n)
    ReferenceKernels.columnSums(dz.view, db.pointer)
    self.db = db

    func spread(_ count: Int, cost: Int) -> [Int] {
      let chosen = min(count, max(8, 50_000_000 / max(1, cost)))
      return chosen == count ? Array(0..<count) : (0..<chosen).map { $0 * (count - 1) / (chosen - 1) }
    }
    let (dxRows, dwRows) = (spread(m, cost: n * k), spread(k, cost: m * n))
    let (dx, dw) = (ScratchMatrix<Double>(dxRows.count, k), ScratchMatrix<Double>(dwRows.count, n))
    func gradients() {
      for (place, row) in dxRows.enumerated() {
        ReferenceKernels.multiply(
          dz.view.rows(row..<row + 1), transposed.view, into: dx.view.rows(place..<place + 1))
      }
      for (place, row) in dwRows.enumerated() {
        ReferenceKernels.multiply(
          x64.view.columns(row..<row + 1), transposeA: true, dz.view, into: dw.view.rows(place..<place + 1))
      }
    }
    // The largest sums of absolute terms first, then the sums themselves into the same memory.
    let signed = [dz, x64, transposed].map { matrix in matrix.elements.map { $0 } }
    for matrix in [dz, x64, transposed] { matrix.dropSigns() }
    gradients()
    let sums = ScratchMatrix<Double>(1, n)
    ReferenceKernels.columnSums(dz.view, sums.pointer)
    (dxTerm, dwTerm, dbTerm) = (dx.largest, dw.largest, sums.largest)
    for (matrix, values) in zip([dz, x64, transposed], signed) { _ = matrix.elements.update(fromContentsOf: values) }
    gradients()
    (self.dx, self.dw, self.dxRows, self.dwRows) = (dx, dw, dxRows, dwRows)
  }

  /// The largest error of output and gradients, each relative to its largest sum of absolute terms.
  func error<Scalar: BinaryFloatingPoint>(
    y: MatrixView<Scalar>, dx: MatrixView<Scalar>, dw: MatrixView<Scalar>, db: MatrixView<Scalar>
  ) -> Double {
    var worst = 0.0
    func compare(_ matrix: MatrixView<Scalar>, rows: [Int]?, _ exact: ScratchMatrix<Double>, term: Double) {
      guard term > 0 else { return }
      for place in 0..<exact.view.rows {
        for column in 0..<exact.view.columns {
          let difference = abs(Double(matrix[rows?[place] ?? place, column]) - exact[place, column]) / term
          worst = difference.isNaN ? .infinity : max(worst, difference)
        }
      }
    }
    compare(y, rows: nil, self.y, term: forwardTerm)
    compare(dx, rows: dxRows, self.dx, term: dxTerm)
    compare(dw, rows: dwRows, self.dw, term: dwTerm)
    compare(db, rows: nil, self.db, term: dbTerm)
    return worst
  }
}
