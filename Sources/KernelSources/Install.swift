import KernelInterface

/// Fills `table` with this build's kernels.
public func installKernels(in table: KernelTable<Scalar>) {
  installReductions(table.reductions)
}
