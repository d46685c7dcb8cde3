import LinearAlgebra
import NeuralNetworks

extension Predictor {
  /// The outputs for the inputs of `data`: shape (samples, …).
  ///
  /// - Throws: `ModelError.shape` where a sample has another shape than `inputShape`.
  public func predict(_ data: Samples<Scalar>) throws -> Tensor<Scalar> {
    guard data.inputShape == inputShape else {
      throw ModelError.shape(what: "one sample of the inputs", expected: inputShape, got: data.inputShape)
    }
    var result = Tensor<Scalar>.zeros([data.count] + outputShape)
    guard data.count > 0 else { return result }
    result.withUnsafeMutableBufferPointer { outputs in
      data.withSource { source in
        run(
          source.inputs.advanced(by: data.rows.lowerBound, width: inputCount), samples: data.count,
          into: outputs.baseAddress!)
      }
    }
    return result
  }

  /// The class of each sample of `data`: the first of its largest outputs.
  ///
  /// - Throws: `ModelError.shape` where a sample has another shape than `inputShape`.
  public func classes(_ data: Samples<Scalar>) throws -> [Int] { Self.classes(of: try predict(data)) }
}
