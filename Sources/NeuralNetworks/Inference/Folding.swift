import Kernels
import LinearAlgebra

/// What folding batch normalization away did, and the error that it was measured to have.
public struct FoldingReport: Sendable, Equatable {
  /// Names of the batch normalizations that are part of a `Dense` now.
  public var foldedLayers: [String]
  /// Names of those that remain: no `Dense` is next to them, or their axis is not the one it multiplies.
  public var remainingLayers: [String]
  /// Largest difference from the model's outputs over the probe, relative to the largest of them; 0 where nothing is folded.
  public var error: Double
  /// The most that was allowed.
  public var tolerance: Double
  /// Samples of the probe.
  public var probeCount: Int
  /// The sample of the probe with the largest difference.
  public var worstSample: Int
  /// The element of its output with the largest difference.
  public var worstOutput: Int
}

/// Why batch normalization was not folded away.
public enum FoldingError: Error, Equatable, CustomStringConvertible {
  /// The folded model differs from the model by more than the tolerance; most of it comes from folding `layer`.
  case inexact(FoldingReport, layer: String)

  /// What, where, and what to do.
  public var description: String {
    switch self {
    case .inexact(let report, let layer):
      "folding batch normalization changes the outputs by \(report.error) of their largest, more than the "
        + "tolerance \(report.tolerance) (output \(report.worstOutput) of probe sample \(report.worstSample)); "
        + "the most comes from '\(layer)', whose running mean is large beside its deviation or whose running "
        + "variance is close to 0; train it longer, pass a larger tolerance, or predict without folding"
    }
  }
}

/// Whether a predictor folds batch normalization away.
public enum FoldingPolicy: Sendable {
  /// Folded, or an error where that is not accurate.
  case required
  /// Folded where that is accurate, else computed as one pass per layer; `Predictor.foldingRefusal` says which.
  case whereAccurate
  /// Never folded.
  case never
}

// MARK: Folding

extension InferenceGraph {
  /// The graph with every batch normalization that has a product next to it made part of that product.
  ///
  /// One that follows a product is folded into it; else into the product after it, past dropout and flatten. `isFoldable`
  /// restricts this to some normalizations and products, by the names of their layers.
  func folded(isFoldable: (String) -> Bool = { _ in true }) -> (graph: InferenceGraph, layers: [String]) {
    var graph = self
    var names: [String] = []
    var changed = true
    while changed {
      changed = false
      for index in graph.operations.indices {
        guard case .normalization(let normalization) = graph.operations[index].kind, isFoldable(normalization.layer),
          graph.fold(normalization, at: index, isFoldable)
        else { continue }
        graph.operations.remove(at: index)
        names.append(normalization.layer)
        changed = true
        break
      }
    }
    // Alone between the input and the output nothing is left but a copy.
    for index in graph.operations.indices {
      if case .dense(let dense) = graph.operations[index].kind {
        graph.operations[index].kind = .dense(dense.resolved(table.products))
      }
    }
    return (graph, names)
  }

  private mutating func fold(
    _ normalization: InferenceNormalization<Scalar>, at index: Int, _ isFoldable: (String) -> Bool
  ) -> Bool {
    let period = normalization.features * normalization.inner
    func map(_ columns: Int) -> FeatureMap {
      let map = normalization.map
      return FeatureMap(
        factor: normalization.spread(map.factor, columns: columns),
        shift: normalization.spread(map.shift, columns: columns))
    }
    if index > 0, case .dense(var dense) = operations[index - 1].kind, dense.kernel.columns % period == 0,
      isFoldable(dense.layer)
    {
      dense.outputMap = map(dense.kernel.columns).after(dense.outputMap)
      operations[index - 1].kind = .dense(dense)
      return true
    }
    if index + 1 < operations.count, case .dense(var dense) = operations[index + 1].kind,
      dense.kernel.rows % period == 0, isFoldable(dense.layer)
    {
      let inner = map(dense.kernel.rows)
      dense.inputMap = dense.inputMap.map { $0.after(inner) } ?? inner
      operations[index + 1].kind = .dense(dense)
      return true
    }
    return false
  }

  /// Names of the normalizations left.
  var normalizationLayers: [String] {
    operations.compactMap { if case .normalization(let normalization) = $0.kind { normalization.layer } else { nil } }
  }

  /// Largest error, relative to the largest output, that roundings of another order explain.
  ///
  /// Roundings of k terms add up to about √k units; 32 of these leaves room for what a network does to an error.
  var defaultTolerance: Double {
    let depths = operations.reduce(0.0) { sum, operation in
      if case .dense(let dense) = operation.kind { sum + Double(dense.kernel.rows).squareRoot() } else { sum }
    }
    return 32 * Double(Scalar.ulpOfOne) * max(depths, 1)
  }
}

// MARK: Measuring

/// Rows on which a folded model is compared with the model.
struct FoldingProbe<Scalar: NetworkScalar> {
  /// Rows drawn for every probe: a half uniform with mean 0 and variance 1, a half uniform in 0 ..< 1.
  static var drawnCount: Int { 8 }

  private let rows: AlignedBuffer<Scalar>
  let count: Int

  /// The drawn rows, then those of `more`.
  init(inputCount: Int, more: UnsafeBufferPointer<Scalar>?) {
    let extra = more?.count ?? 0
    count = Self.drawnCount + extra / inputCount
    let drawn = Self.drawnCount * inputCount
    rows = AlignedBuffer(uninitializedCapacity: drawn + extra)
    var state: UInt64 = 0x5DEECE66D
    let values = [Double](unsafeUninitializedCapacity: drawn) { values, initialized in
      for index in 0..<drawn {
        // splitmix64 (Steele, Lea and Flood 2014).
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        let uniform = Double((z ^ (z >> 31)) >> 11) * 0x1p-53
        values[index] = index < drawn / 2 ? (uniform - 0.5) * 12.0.squareRoot() : uniform
      }
      initialized = drawn
    }
    Scalar.unsafeRound(drawn, values, rows.baseAddress)
    if let more, let base = more.baseAddress { (rows.baseAddress + drawn).update(from: base, count: extra) }
  }

  /// Largest difference between the outputs of two programs, relative to the largest output of the first.
  func difference(
    _ reference: InferenceProgram<Scalar>, _ other: InferenceProgram<Scalar>
  ) -> (error: Double, sample: Int, output: Int) {
    let (expected, got) = (outputs(reference), outputs(other))
    let width = expected.count / count
    let scale = expected.reduce(0) { $1.isFinite ? max($0, abs($1)) : .infinity }
    var worst = (error: 0.0, index: 0)
    for index in expected.indices {
      let difference = abs(expected[index] - got[index])
      // Two zeros, or two equal infinities of a model that overflows, are no difference.
      let error = expected[index] == got[index] ? 0 : scale > 0 && scale.isFinite ? difference / scale : .infinity
      if !(error <= worst.error) { worst = (error.isNaN ? .infinity : error, index) }
    }
    return (worst.error, worst.index / width, worst.index % width)
  }

  private func outputs(_ program: InferenceProgram<Scalar>) -> [Double] {
    let result = AlignedBuffer<Scalar>(uninitializedCapacity: count * program.outputCount)
    let job = PredictionJob(program: program, members: 1)
    job.runAlone(.scalars(rows.baseAddress), samples: count, into: result.baseAddress, steps: program.stepCount)
    return [Double](unsafeUninitializedCapacity: result.capacity) { wide, initialized in
      Scalar.unsafeWiden(result.capacity, result.baseAddress, wide.baseAddress!)
      initialized = result.capacity
    }
  }
}

/// A folded graph that has been held against the graph it was made from.
struct FoldedGraph<Scalar: NetworkScalar> {
  let graph: InferenceGraph<Scalar>
  let program: InferenceProgram<Scalar>
  let report: FoldingReport

  /// Folds `graph` and compares both on the probe.
  ///
  /// - Throws: `FoldingError` where they differ by more than `tolerance`; `ModelError` where a folded weight is not
  ///   finite, the tolerance is negative or the probe has another shape than the input.
  init(
    _ graph: InferenceGraph<Scalar>, tolerance: Double?, probe: Tensor<Scalar>?, maximumBatch: Int,
    isFoldable: (String) -> Bool = { _ in true }
  ) throws {
    let tolerance = tolerance ?? graph.defaultTolerance
    guard tolerance >= 0 else {
      throw ModelError.argument(name: "tolerance", problem: "must be at least 0, not \(tolerance)")
    }
    if let probe, Array(probe.shape.dropFirst()) != graph.inputShape {
      throw ModelError.shape(
        what: "one sample of the probe", expected: graph.inputShape, got: Array(probe.shape.dropFirst()))
    }
    let (folded, layers) = graph.folded(isFoldable: isFoldable)
    for case .dense(let dense) in folded.operations.map(\.kind) {
      try dense.requireFinite(graph.table.reductions)
    }
    let program = InferenceProgram(folded, maximumBatch: maximumBatch)
    var report = FoldingReport(
      foldedLayers: layers, remainingLayers: folded.normalizationLayers, error: 0, tolerance: tolerance, probeCount: 0,
      worstSample: 0, worstOutput: 0)
    if !layers.isEmpty {
      let rows =
        probe.map { probe in
          probe.withUnsafeBufferPointer {
            FoldingProbe<Scalar>(inputCount: program.inputCount, more: $0)
          }
        } ?? FoldingProbe(inputCount: program.inputCount, more: nil)
      let reference = InferenceProgram(graph, maximumBatch: maximumBatch)
      let worst = rows.difference(reference, program)
      report.probeCount = rows.count
      (report.error, report.worstSample, report.worstOutput) = worst
      if !(worst.error <= tolerance) {
        // Which of them it is: each one alone.
        let errors = layers.map { layer in
          let one = graph.folded { name in name == layer || !layers.contains(name) && isFoldable(name) }.graph
          return rows.difference(reference, InferenceProgram(one, maximumBatch: maximumBatch)).error
        }
        let largest = errors.indices.max { errors[$0] < errors[$1] } ?? 0
        throw FoldingError.inexact(report, layer: layers[largest])
      }
    }
    self.graph = folded
    self.program = program
    self.report = report
  }
}

extension InferenceDense {
  /// - Throws: `ModelError.notFinite` where a weight is NaN or infinite.
  func requireFinite(_ kernels: ReductionKernels<Scalar>) throws {
    guard kernels.allFinite(kernel.buffer.baseAddress, kernel.count),
      bias?.allSatisfy({ Scalar($0).isFinite }) ?? true
    else { throw ModelError.notFinite(what: "'\(layer)', with batch normalization folded into it,") }
  }
}
