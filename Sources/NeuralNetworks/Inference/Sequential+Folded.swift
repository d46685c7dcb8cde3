import Kernels
import LinearAlgebra

/// A model without the batch normalizations that could be folded into their neighbours, and the error this was measured
/// to have.
public struct FoldedModel<Scalar: NetworkScalar> {
  /// The model: `Dense` layers with new weights, compiled as the original was.
  public let model: Sequential<Scalar>
  /// What was folded and how far outputs differ.
  public let report: FoldingReport
}

extension Sequential {
  /// A new model that computes the same in inference mode without batch normalization, where a `Dense` is beside it.
  ///
  /// One that follows a `Dense` is folded into it, W′ = W·γ/√(σ² + ε), b′ = (b − μ)·γ/√(σ² + ε) + β; one that follows an
  /// activation into the `Dense` after it, past `Dropout` and `Flatten`: W′ = s·W by rows, b′ = b + t·W with s = γ/√(σ² + ε),
  /// t = β − μ·s. Computed in Double. Others stay: nothing is folded past the ends of a `Residual`, whose shortcut takes
  /// the values as they are. Names of layers stay too; a `Dense` without bias gets one.
  ///
  /// - Parameters:
  ///   - tolerance: largest difference from the model's outputs, relative to the largest of them; nil: as in
  ///     `predictor(…)`.
  ///   - probe: samples of shape (n, …) to compare on, beside the drawn ones.
  /// - Throws: `FoldingError` where the difference is larger; `ModelError` where the model is not built, or a weight or
  ///   statistic is not finite.
  public func folded(tolerance: Double? = nil, probe: Tensor<Scalar>? = nil) throws -> FoldedModel<Scalar> {
    guard let network, let store else { throw ModelError.notBuilt }
    let graph = try InferenceGraph(network: network, store: store)
    try ParameterReader(store: store, kernels: graph.table).requireFinite()
    let names = Set(Self.foldableNames(layers, network.layers))
    let folded = try FoldedGraph(
      graph, tolerance: tolerance, probe: probe, maximumBatch: 64, isFoldable: names.contains)
    var products: [String: InferenceDense<Scalar>] = [:]
    for case .dense(let dense) in folded.graph.operations.map(\.kind) { products[dense.layer] = dense }

    let remaining = Self.remaining(layers, network.layers, folded.report.foldedLayers, products)
    let model = Sequential(seed: seed, layers: remaining)
    // Before the weights exist, so that the optimizer's state is made with them.
    model.configuration = configuration
    try model.build(inputShape: network.inputShape)
    for parameter in model.parameters {
      let layer = String(parameter.name.prefix(upTo: parameter.name.lastIndex(of: ".") ?? parameter.name.endIndex))
      if let dense = products[layer], names.contains(layer) {
        let values = parameter.name.hasSuffix(".kernel") ? dense.kernel.scalars : (dense.bias ?? []).map { Scalar($0) }
        try model.setParameter(parameter.name, to: Tensor(shape: parameter.shape, scalars: values))
      } else {
        try model.setParameter(parameter.name, to: self.parameter(parameter.name))
      }
    }
    return FoldedModel(model: model, report: folded.report)
  }

  /// Names of the layers, in blocks too, that can be described anew; what a layer of a user's stands for cannot.
  private static func foldableNames(_ layers: [any Layer], _ records: [NetworkLayout.LayerRecord]) -> [String] {
    zip(layers, records).flatMap { layer, record -> [String] in
      switch layer {
      case let block as Residual: foldableNames(block.layers, record.inner)
      case is Dense, is BatchNormalization: [record.name]
      default: []
      }
    }
  }

  /// The layers without the normalizations in `folded`, under the names they have.
  private static func remaining(
    _ layers: [any Layer], _ records: [NetworkLayout.LayerRecord], _ folded: [String],
    _ products: [String: InferenceDense<Scalar>]
  ) -> [any Layer] {
    zip(layers, records).compactMap { layer, record -> (any Layer)? in
      switch layer {
      case var normalization as BatchNormalization:
        if folded.contains(record.name) { return nil }
        normalization.name = record.ownName
        return normalization
      case var dense as Dense:
        dense.name = record.ownName
        dense.useBias = products[record.name]?.bias != nil
        return dense
      case var block as Residual:
        block.name = record.ownName
        block.layers = remaining(block.layers, record.inner, folded, products)
        return block
      default: return layer
      }
    }
  }
}

extension ParameterMatrix {
  /// The values, row-major.
  var scalars: [Scalar] { Array(UnsafeBufferPointer(start: buffer.baseAddress, count: count)) }
}
