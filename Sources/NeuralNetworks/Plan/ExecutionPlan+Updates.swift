import Kernels
import LinearAlgebra

/// The end of a step: gradients of kernels, and updates.
extension ExecutionPlan {
  /// Kernel gradients and updates: nobody else reads the first stage's kernel, and the others' weights are no longer read
  /// by those who have begun with it.
  @inline(__always)
  func finish(_ member: Int) {
    let weightsAreRead = team.arrive(member)
    var prefetch = update != nil && upcoming > 0 ? prefetchOfNextBatch(member) : nil
    finishStages(member, 0..<1, &prefetch)
    if trainingStages > 1 {
      team.barrier(member, until: weightsAreRead)
      finishStages(member, 1..<trainingStages, &prefetch)
    }
  }

  /// What this member will gather next, shared out over the weights whose gradients it makes.
  private func prefetchOfNextBatch(_ member: Int) -> BatchPrefetch? {
    guard let indices else { return nil }
    let rows = membersGatherAll ? 0..<upcoming : member * upcoming / threads..<(member + 1) * upcoming / threads
    return BatchPrefetch(
      source, columns: inputs.first.columns, indices: indices + sampleCount, rows: rows, weights: kernelWeights[member])
  }

  /// dW[:, tile] = Xᵀ·dZ[:, tile] and the update of the tile's parameters, for the tiles that `member` owns.
  ///
  /// In training a block of rows of dW is made in this member's scratch memory and used up while it is in the L1 cache:
  /// the gradient of a kernel never travels to memory.
  @inline(__always)
  private func finishStages(_ member: Int, _ range: Range<Int>, _ prefetch: inout BatchPrefetch?) {
    for index in range {
      let stage = stages[index]
      let rows = sampleCount * stage.outputRowsPerSample
      let owned = TileGrid.owned(by: member, of: threads, count: stage.tileCount)
      var widest = 1
      for tile in owned { widest = max(widest, stage.tiles[tile].kernelStride) }
      let blockRows = TiledProduct.gradientRows(m: stage.input.columns, n: widest, k: rows)
      // All tiles of a block before the next: the block's part of x is read from memory once.
      var row = 0
      if index == 0, let bytes {
        finishBytes(member, bytes, &prefetch)
        row = stage.input.columns
      } else if let sparse = sparseProducts(index, member, owned, rows: rows) {
        finishLaidOut(member, index, sparse, rows: rows, &prefetch)
        row = stage.input.columns
      } else if let sparse = sparseOutputs(index, member, owned, rows: rows) {
        finishFromOutputs(member, index, sparse, rows: rows, &prefetch)
        row = stage.input.columns
      } else if let wide = wideGradient(index, member, rows: rows) {
        finishLaidOut(member, index, wide, rows: rows, &prefetch)
        row = stage.input.columns
      }
      while row < stage.input.columns {
        let block = row..<min(row + blockRows, stage.input.columns)
        for tile in owned where stage.tiles[tile].kernel != nil {
          updateKernel(member, index, stage.tiles[tile], block, rows: rows, &prefetch)
        }
        row = block.upperBound
      }
      for tile in owned {
        let bound = stage.tiles[tile]
        let updated = bound.kernel == nil ? 0 : stage.input.columns * bound.kernelStride
        let start = bound.region.lowerBound + updated
        if hasFrozenParameters {
          updateLearningParts(start..<bound.region.upperBound)
          continue
        }
        update?.apply(
          to: store, start: start, count: bound.region.upperBound - start,
          gradients: store.gradients.baseAddress + start, kernels: table.optimizers)
      }
    }
  }

  /// Gradients and updates of a stage's kernel from factors that are laid out, for the tiles that `member` owns.
  @inline(__always)
  private func finishLaidOut(
    _ member: Int, _ index: Int, _ products: some GradientProducts<Scalar>, rows: Int,
    _ prefetch: inout BatchPrefetch?
  ) {
    let stage = stages[index]
    products.makeGradients(
      member, inputs: input(of: index, member).rows(0..<rows),
      tiles: TileGrid.owned(by: member, of: threads, count: stage.tileCount)
    ) {
      stage.outputGradient.rows(0..<rows).columns(stage.tiles[$0].columns)
    } use: {
      useGradient(member, stage.tiles[$0], $1, &prefetch, $2)
    }
  }

  /// The gradient of the rows `block` of one tile's kernel, which `make` makes, and the update with it.
  @inline(__always)
  private func useGradient(
    _ member: Int, _ tile: BoundTile<Scalar>, _ block: Range<Int>, _ prefetch: inout BatchPrefetch?,
    _ make: (MatrixView<Scalar>) -> Void
  ) {
    let width = tile.kernelStride
    let offset = tile.region.lowerBound + block.lowerBound * width
    let count = block.count * width
    prefetch?.advance(weights: count)
    let gradient = update == nil ? store.gradients.baseAddress + offset : scratch(of: member)
    make(MatrixView(base: gradient, rows: block.count, columns: width))
    update?.apply(to: store, start: offset, count: count, gradients: gradient, kernels: table.optimizers)
  }

  /// Gradients and updates of a stage's kernel from lists of the gradient of its outputs, for the tiles that `member` owns:
  /// block by block of its rows, because a block of the inputs is laid out but once.
  @inline(__always)
  private func finishFromOutputs(
    _ member: Int, _ index: Int, _ sparse: SparseProducts<Scalar>, rows: Int, _ prefetch: inout BatchPrefetch?
  ) {
    let stage = stages[index]
    let owned = TileGrid.owned(by: member, of: threads, count: stage.tileCount)
    let x = input(of: index, member).rows(0..<rows)
    sparse.prepareTransposed(member, stage, outputGradient: stage.outputGradient.rows(0..<rows), tiles: owned)
    var row = 0
    while row < x.columns {
      let block = row..<min(row + SparseProducts<Scalar>.inputsTogether, x.columns)
      row = block.upperBound
      sparse.prepareTransposed(member, inputs: x.columns(block))
      for tile in owned {
        useGradient(member, stage.tiles[tile], block, &prefetch) {
          sparse.makeTransposed(member, stage, samples: rows, tiles: owned, tile: tile, into: $0)
        }
      }
    }
  }

  /// Updates what learns of a tile's vectors where some γ or β does not.
  private func updateLearningParts(_ region: Range<Int>) {
    store.normalizations.forEachLearningPart(of: region, store) { part in
      update?.apply(
        to: store, start: part.lowerBound, count: part.count,
        gradients: store.gradients.baseAddress + part.lowerBound, kernels: table.optimizers)
    }
  }

  /// The rows `block` of one tile's kernel, whose gradients are sums over `rows` samples.
  @inline(__always)
  private func updateKernel(
    _ member: Int, _ index: Int, _ tile: BoundTile<Scalar>, _ block: Range<Int>, rows: Int,
    _ prefetch: inout BatchPrefetch?
  ) {
    let width = tile.kernelStride
    let stage = stages[index]
    let input = input(of: index, member)
    let x = MatrixView(base: input.base + block.lowerBound, rows: rows, columns: block.count, stride: input.stride)
    let z = MatrixView(
      base: stage.outputGradient.base + tile.columns.lowerBound, rows: rows, columns: width,
      stride: stage.outputGradient.stride)
    let offset = tile.region.lowerBound + block.lowerBound * width
    let sums = scratch(of: member)
    let gradient = update == nil ? store.gradients.baseAddress + offset : sums + BoundUpdate.productSums
    let target = MatrixView(base: gradient, rows: block.count, columns: width)
    guard let adam = update?.adam, let fused = products.transposedWithAdam, products.isWholeVectors(width)
    else {
      products.multiplyTransposed(x, z.columns(0..<tile.columns.count), into: target, &prefetch)
      update?.apply(
        to: store, start: offset, count: block.count * width, gradients: gradient, kernels: table.optimizers)
      return
    }
    // Samples before the last piece are summed first; the last is summed while the update runs.
    let lead = (rows - 1) / products.samplesTogether * products.samplesTogether
    if lead > 0 { products.multiplyTransposed(x.rows(0..<lead), z.rows(0..<lead), into: target) }
    @inline(__always) func apply(_ requests: UnsafeMutablePointer<LineRequests>?) {
      BoundUpdate.apply(
        adam, to: store, start: offset, x.rows(lead..<rows), z.rows(lead..<rows), partial: lead > 0 ? gradient : nil,
        sums: sums, requests: requests, fused)
    }
    if prefetch?.isTime(weights: block.count * width, samples: rows - lead, tile: BoundUpdate.productSums) == true {
      withUnsafeMutablePointer(to: &prefetch!.requests) { apply($0) }
    } else {
      apply(nil)
    }
  }

  /// What makes the gradient of the kernel of the stage `index` from lists of that of its outputs.
  @inline(__always)
  private func sparseOutputs(_ index: Int, _ member: Int, _ owned: Range<Int>, rows: Int) -> SparseProducts<Scalar>? {
    guard let sparse,
      sparse.takes(
        stages[index], outputGradient: stages[index].outputGradient.rows(0..<rows),
        inputs: input(of: index, member).rows(0..<rows), tiles: owned)
    else { return nil }
    return sparse
  }

  /// What makes the gradient of the kernel of the stage `index` where its factors are laid out first.
  @inline(__always)
  private func wideGradient(_ index: Int, _ member: Int, rows: Int) -> WideProducts<Scalar>? {
    guard let wide, wide.makesGradient(of: stages[index], inputs: input(of: index, member).rows(0..<rows)) else {
      return nil
    }
    return wide
  }
}
