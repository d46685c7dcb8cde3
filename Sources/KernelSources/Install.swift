import KernelInterface

/// Fills `table` with this build's kernels.
public func installKernels(in table: KernelTable<Scalar>) {
  installActivations(table.activations)
  installBatchNormalization(table.batchNormalization)
  installReductions(table.reductions)
  installOptimizers(table.optimizers)
  installLosses(table.losses)
  installDropout(table.dropout)
  installGathering(table.gathering)
  installMeasurement(table.measurement)
}
