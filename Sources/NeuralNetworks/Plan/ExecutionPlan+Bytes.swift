import Kernels

/// What a step does differently where its inputs are bytes that are multiplied as such.
extension ExecutionPlan {
  /// The member's rows of the batch: whole groups of four samples, or all where it has a copy of its own.
  @inline(__always)
  func gatherBytes(_ member: Int, _ bytes: ByteInputs<Scalar>) {
    guard case .bytes(let source, _, _) = source?.inputs, let indices else { return }
    if bytes.isPrivate { return bytes.gather(member, source, indices, 0..<sampleCount, samples: sampleCount) }
    let groups = (sampleCount + 3) / 4
    let first = member * groups / threads * 4
    let end = min((member + 1) * groups / threads * 4, sampleCount)
    if first < end { bytes.gather(member, source, indices, first..<end, samples: sampleCount) }
  }

  /// Gradients and updates of the first stage's kernel, for the tiles that `member` owns.
  ///
  /// The rows of a block come from one call: few enough that the next batch's lines are asked for when it is time, and
  /// that a gradient stays in the L1 cache until it is used up.
  @inline(__always)
  func finishBytes(_ member: Int, _ bytes: ByteInputs<Scalar>, _ prefetch: inout BatchPrefetch?) {
    let stage = stages[0]
    let blockRows = 64
    let fuses = update?.adam != nil && bytes.fusesAdam
    for tile in TileGrid.owned(by: member, of: threads, count: stage.tileCount) {
      let bound = stage.tiles[tile]
      let width = bound.kernelStride
      let digits = bytes.prepareGradient(
        tile: tile,
        MatrixView(
          base: stage.outputGradient.base + bound.columns.lowerBound, rows: sampleCount, columns: width,
          stride: stage.outputGradient.stride))
      if update != nil { bytes.weightsChange(tile: tile) }
      var row = 0
      while row < stage.input.columns {
        let block = row..<min(row + blockRows, stage.input.columns)
        row = block.upperBound
        let offset = bound.region.lowerBound + block.lowerBound * width
        let count = block.count * width
        @inline(__always) func apply(_ requests: UnsafeMutablePointer<LineRequests>?) {
          if fuses, let adam = update?.adam {
            bytes.update(
              member, tile: tile, digits, samples: sampleCount, block, store.weights.baseAddress + offset,
              store.stateVector(0) + offset, store.stateVector(1) + offset, adam, requests: requests)
            return
          }
          let gradient = update == nil ? store.gradients.baseAddress + offset : scratch(of: member)
          bytes.makeGradient(
            member, digits, samples: sampleCount, block,
            into: MatrixView(base: gradient, rows: block.count, columns: bound.columns.count, stride: width),
            requests: requests)
          guard let update else { return }
          update.apply(to: store, start: offset, count: count, gradients: gradient, kernels: table.optimizers)
          bytes.renewDigits(
            tile: tile, block,
            MatrixView(base: store.weights.baseAddress + offset, rows: block.count, columns: width))
        }
        // A line with each four rows of sixteen columns.
        if prefetch?.isTime(weights: count, samples: 8, tile: 64) == true {
          withUnsafeMutablePointer(to: &prefetch!.requests) { apply($0) }
        } else {
          apply(nil)
        }
      }
    }
  }
}
