/// Where a plan draws its batches from: rows of a data set in memory that outlives the call.
package struct BatchSource<Scalar: NetworkScalar> {
  /// Rows of inputs, contiguous.
  package enum Inputs {
    /// Bytes, scaled alike.
    case bytes(UnsafePointer<UInt8>, scale: Double, offset: Double)
    /// Bytes, scaled by column.
    case bytesByColumn(UnsafePointer<UInt8>, scale: UnsafePointer<Scalar>, offset: UnsafePointer<Scalar>)
    /// Scalars as they are.
    case scalars(UnsafePointer<Scalar>)

    /// Whether the rows are bytes, to be scaled.
    var areBytes: Bool { if case .scalars = self { false } else { true } }
  }

  /// Rows of targets.
  package enum Targets {
    /// None: prediction.
    case none
    /// A class per sample (or per row of the output).
    case labels(UnsafePointer<Int32>)
    /// As many numbers per sample as the output has.
    case values(UnsafePointer<Scalar>)
  }

  package var inputs: Inputs
  package var targets: Targets
  /// A weight per sample in the moments of batch normalizations; nil: all 1.
  package var statisticsWeights: UnsafePointer<Double>?

  package init(inputs: Inputs, targets: Targets, statisticsWeights: UnsafePointer<Double>? = nil) {
    self.inputs = inputs
    self.targets = targets
    self.statisticsWeights = statisticsWeights
  }
}
