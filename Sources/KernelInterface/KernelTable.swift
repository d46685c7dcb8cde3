/// Every kernel of one instruction set and one scalar type, grouped by subject.
///
/// `Kernels` makes an empty table, lets the chosen build fill it, and only then publishes it; it never changes after
/// that, which is what the unchecked conformances below rest on. The groups are classes filled by assignment because
/// a build for a wide instruction set must not instantiate generic types: the linker could then hand its code for
/// that to the rest of the program, and a narrower CPU would meet instructions it lacks.
public final class KernelTable<Scalar>: @unchecked Sendable {
  /// Name of the instruction set the table was built for: `portable`, `avx2`, `avx512` or `amx`.
  public let instructionSet: String
  /// Bias and activation, softmax, elementary functions.
  public let activations = ActivationKernels<Scalar>()
  /// Moments, normalization and their gradients.
  public let batchNormalization = BatchNormalizationKernels<Scalar>()
  /// The same where the axis is not the last.
  public let featureRuns = FeatureRunKernels<Scalar>()
  /// Normalization of rows.
  public let layerNormalization = LayerNormalizationKernels<Scalar>()
  /// Parameter updates.
  public let optimizers = OptimizerKernels<Scalar>()
  /// Gradients of kernels, alone or with their update.
  public let weightGradients = WeightGradientKernels<Scalar>()
  /// Losses with their gradients.
  public let losses = LossKernels<Scalar>()
  /// Dropout masks.
  public let dropout = DropoutKernels<Scalar>()
  /// Batches drawn from a data set.
  public let gathering = GatheringKernels<Scalar>()
  /// Copies of matrices in another order.
  public let layout = LayoutKernels<Scalar>()
  /// Sums and checks over matrices and vectors.
  public let reductions = ReductionKernels<Scalar>()
  /// Products with packed matrices.
  public let products = ProductKernels<Scalar>()
  /// Products with the tiles of a layer's kernel.
  public let layerProducts = LayerProductKernels<Scalar>()
  /// Products of bytes; all nil where the CPU lacks them.
  public let byteProducts = ByteProductKernels<Scalar>()
  /// Products of wide matrices whose factors are packed first; nil where this build has none.
  public let packedProducts = PackedProductKernels<Scalar>()
  /// The same of numbers that are split first; nil where the CPU lacks what multiplies them.
  public let splitProducts = PackedProductKernels<Scalar>()
  /// Products with what a ReLU leaves; nil where this build has none.
  public let sparseProducts = SparseProductKernels<Scalar>()
  /// Loops that measure what the machine can do.
  public let measurement = MeasurementKernels<Scalar>()

  /// An empty table for `instructionSet`.
  public init(instructionSet: String) { self.instructionSet = instructionSet }
}
