import Kernels
import LinearAlgebra

extension ExecutionPlan {
  /// One member's share of the job at hand.
  @inline(__always)
  func performWork(member: Int) {
    switch task {
    case .train, .gradients, .infer, .evaluate, .observe, .assess: break
    case .passes:
      forward(member, mode: .training, count: trainingStages)
      return backward(member)
    case .penalize:
      penalty = store.normalizations.penalty(store)
      return
    case .constrain: return store.normalizations.constrain(store)
    }
    gather(member)
    let training = task == .train || task == .gradients
    let hasLoss = task != .infer && task != .observe
    let mode = training || task == .observe || task == .assess ? Mode.training : .inference
    let count = hasLoss ? trainingStages : stages.count
    // A copy of its own is all that a member needs at first; the targets are read by the loss, another barrier later.
    if !membersGatherAll || count == 1 { team.barrier(member) }
    forward(member, mode: mode, count: count)
    guard hasLoss else { return }
    if member == 0 { computeLoss(withGradient: training) }
    if training { backward(member) }
  }

  // MARK: Batch

  /// The input of the stage `index` as `member` reads it.
  @inline(__always)
  func input(of index: Int, _ member: Int) -> MatrixView<Scalar> {
    index == 0 && inputs.areInUse ? inputs.inputs(of: member) : stages[index].input
  }

  /// What makes the products of the stage `index` with its kernel where their factors are laid out first.
  @inline(__always)
  private func wideProducts(_ index: Int, rows: Int) -> WideProducts<Scalar>? {
    guard let wide, index > 0 || bytes == nil, wide.makesProducts(of: stages[index], rows: rows) else { return nil }
    return wide
  }

  /// The same of the gradient of its kernel.
  @inline(__always)
  private func wideGradient(_ index: Int, _ member: Int, rows: Int) -> WideProducts<Scalar>? {
    guard let wide, wide.makesGradient(of: stages[index], inputs: input(of: index, member).rows(0..<rows)) else {
      return nil
    }
    return wide
  }

  /// Copies this member's rows of the batch into place: of its own copy all.
  @inline(__always)
  private func gather(_ member: Int) {
    guard let source, let indices else { return }
    let rows = member * sampleCount / threads..<(member + 1) * sampleCount / threads
    let inputRows = inputs.areInUse ? 0..<sampleCount : rows
    let destination = inputs.inputs(of: member).rows(inputRows)
    let inputIndices = indices + inputRows.lowerBound
    if let bytes { gatherBytes(member, bytes) }
    switch source.inputs {
    case .bytes where bytes != nil: break
    case .bytes(let bytes, let scale, let offset):
      table.gathering.bytes(bytes, inputIndices, destination, scale, offset)
    case .bytesByColumn(let bytes, let scale, let offset):
      table.gathering.bytesByColumn(bytes, inputIndices, destination, scale, offset)
    case .scalars(let scalars):
      table.gathering.scalars(scalars, inputIndices, destination, nil, nil)
    }
    switch source.targets {
    case .none: break
    case .labels(let all):
      let perSample = stages[trainingStages - 1].outputRowsPerSample
      for row in rows {
        let first = Int(indices[row]) * perSample
        for part in 0..<perSample { labels[row * perSample + part] = all[first + part] }
      }
    case .values(let values):
      table.gathering.scalars(values, indices + rows.lowerBound, targets.rows(rows), nil, nil)
    }
  }

  // MARK: Forward

  @inline(__always)
  private func forward(_ member: Int, mode: Mode, count: Int) {
    let key = DropoutKey(seed: seed, step: step)
    for index in 0..<count {
      let stage = stages[index]
      let inputRows = sampleCount * stage.inputRowsPerSample
      let outputRows = sampleCount * stage.outputRowsPerSample
      switch stage.core {
      case .dense, .columns:
        let owned = TileGrid.owned(by: member, of: threads, count: stage.tileCount)
        let wide = wideProducts(index, rows: outputRows)
        if let wide, !owned.isEmpty { wide.prepare(member, input(of: index, member).rows(0..<outputRows)) }
        for tile in owned {
          let bound = stage.tiles[tile]
          if index == 0, let bytes {
            bytes.multiply(member, tile: tile, bound, into: bound.product.rows(0..<outputRows))
          } else if let kernel = bound.kernel {
            let x = input(of: index, member)
            let w = MatrixView(base: kernel, rows: stage.input.columns, columns: bound.kernelStride)
            let product = bound.product.rows(0..<outputRows)
            if let wide {
              wide.multiply(member, w.columns(0..<product.columns), into: product)
            } else {
              products.multiply(
                MatrixView(base: x.base, rows: outputRows, columns: x.columns, stride: x.stride), w, into: product)
            }
          }
          kernels.forward(bound, rows: outputRows, mode: mode, dropoutKey: key)
        }
        // A single tile is member 0's, as is the loss that may follow: the others meet it at the next barrier.
        if index == count - 1 && stage.tileCount == 1 { return }
      case .softmax:
        if member == 0 { kernels.softmax(stage.input.rows(0..<inputRows), stage.output.rows(0..<outputRows)) }
      case .whole:
        let operation = wholeOperations[stage.wholeIndex]
        for part in TileGrid.owned(by: member, of: threads, count: operation.partCount) {
          operation.forward(
            part: part, stage.input.rows(0..<inputRows), stage.output.rows(0..<outputRows), kernels, mode)
        }
      }
      team.barrier(member)
    }
  }

  // MARK: Loss

  @inline(__always)
  private func computeLoss(withGradient: Bool) {
    let last = stages[trainingStages - 1]
    let rows = sampleCount * last.outputRowsPerSample
    let output = last.output.rows(0..<rows)
    let gradient = withGradient ? last.outputGradient.rows(0..<rows) : nil
    let scale = 1 / Double(rows)
    let values = MatrixView(base: targets.base, rows: rows, columns: output.columns)
    let losses = table.losses
    sums =
      switch rowLoss {
      case .sparseCategoricalCrossEntropy(true):
        losses.sparseCategoricalFromLogits(output, labels, nil, gradient, scale)
      case .sparseCategoricalCrossEntropy(false):
        losses.sparseCategoricalFromProbabilities(output, labels, nil, gradient, scale)
      case .categoricalCrossEntropy(true): losses.categoricalFromLogits(output, values, nil, gradient, scale)
      case .categoricalCrossEntropy(false): losses.categoricalFromProbabilities(output, values, nil, gradient, scale)
      case .binaryCrossEntropy(true): losses.binaryFromLogits(output, values, nil, gradient, scale)
      case .binaryCrossEntropy(false): losses.binaryFromProbabilities(output, values, nil, gradient, scale)
      case .meanSquaredError: losses.meanSquaredError(output, values, nil, gradient, scale)
      }
  }

  // MARK: Backward

  /// Gradients from the last stage to the first, then this member's kernel gradients and updates.
  ///
  /// On entry member 0 sees the gradient of the outputs. A stage's weights are read by all members while they make the
  /// gradient of the stage before it, so they are updated only after all have come to the end of the loop.
  @inline(__always)
  private func backward(_ member: Int) {
    let last = trainingStages - 1
    // A single tile is member 0's, as the loss is: it goes through both before the others need it.
    let isAhead = stages[last].isTiled && stages[last].tileCount == 1
    if isAhead { backwardTiles(member, stages[last]) }
    team.barrier(member)
    for index in stride(from: last, through: 0, by: -1) {
      let stage = stages[index]
      let rows = sampleCount * stage.outputRowsPerSample
      switch stage.core {
      case .dense, .columns:
        let isDone = index == last && isAhead
        if !isDone { backwardTiles(member, stage) }
        guard let inputGradient = stage.inputGradient else { break }
        if !isDone { team.barrier(member) }
        guard case .dense = stage.core else { break }
        let owned = TileGrid.owned(by: member, of: threads, count: stage.inputTileCount)
        if let wide = wideProducts(index, rows: rows) {
          wide.multiplyByTransposed(
            member, stage.outputGradient.rows(0..<rows), stage.kernels, stage.tileCount, inputTiles: stage.inputTiles,
            owned, into: inputGradient.rows(0..<rows))
        } else {
          products.multiplyByTransposed(
            stage.outputGradient.rows(0..<rows), stage.kernels, stage.tileCount, inputTiles: stage.inputTiles, owned,
            into: inputGradient, scratch: scratch(of: member))
        }
        // What the shortcuts' tiles left there, the barrier has made visible.
        for tile in owned {
          stage.addShortcutGradients(to: inputGradient, columns: stage.inputTiles[tile], rows: rows, kernels)
        }
        // The stage before, if one member computes it whole, needs all tiles of its gradient.
        if !stages[index - 1].isTiled || stage.inputRowsPerSample != stages[index - 1].outputRowsPerSample {
          team.barrier(member)
        }
      case .softmax, .whole:
        backwardWhole(member, stage, rows: rows)
        team.barrier(member)
        guard stage.shortcutCount > 0, let inputGradient = stage.inputGradient else { break }
        let inputRows = sampleCount * stage.inputRowsPerSample
        for tile in TileGrid.owned(by: member, of: threads, count: stage.inputTileCount) {
          stage.addShortcutGradients(to: inputGradient, columns: stage.inputTiles[tile], rows: inputRows, kernels)
        }
        team.barrier(member)
      }
    }
    if let stepGuard, update != nil { return finishGuarded(member, stepGuard) }
    finish(member)
  }

  /// The gradients through the column operations of the tiles that `member` owns.
  @inline(__always)
  private func backwardTiles(_ member: Int, _ stage: BoundStage<Scalar>) {
    let key = DropoutKey(seed: seed, step: step)
    let rows = sampleCount * stage.outputRowsPerSample
    for tile in TileGrid.owned(by: member, of: threads, count: stage.tileCount) {
      let bound = stage.tiles[tile]
      let gradient = stage.outputGradient.columns(bound.columns).rows(0..<rows)
      kernels.backward(bound, gradient: gradient, rows: rows, dropoutKey: key)
      if case .columns = stage.core {
        // The input's gradient lies in the same memory.
        stage.addShortcutGradients(to: stage.outputGradient, columns: bound.columns, rows: rows, kernels)
      }
    }
  }

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

  @inline(__always)
  private func backwardWhole(_ member: Int, _ stage: BoundStage<Scalar>, rows: Int) {
    let gradient = stage.outputGradient.rows(0..<rows)
    let inputRows = sampleCount * stage.inputRowsPerSample
    let inputGradient = (stage.inputGradient ?? stage.outputGradient).rows(0..<inputRows)
    switch stage.core {
    case .softmax:
      if member == 0 { kernels.softmaxBackward(gradient, stage.output.rows(0..<rows), inputGradient) }
    default:
      let operation = wholeOperations[stage.wholeIndex]
      for part in TileGrid.owned(by: member, of: threads, count: operation.partCount) {
        operation.backward(
          part: part, input: stage.input.rows(0..<inputRows), output: stage.output.rows(0..<rows), gradient: gradient,
          inputGradient: inputGradient, kernels)
      }
    }
  }

  /// What this member will gather next, shared out over the weights whose gradients it makes.
  private func prefetchOfNextBatch(_ member: Int) -> BatchPrefetch? {
    guard let indices else { return nil }
    let rows = membersGatherAll ? 0..<upcoming : member * upcoming / threads..<(member + 1) * upcoming / threads
    return BatchPrefetch(
      source, columns: inputs.first.columns, indices: indices + sampleCount, rows: rows, weights: kernelWeights[member])
  }

  // MARK: Kernel gradients and updates

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
      } else if let wide = wideGradient(index, member, rows: rows) {
        finishWide(member, index, wide, rows: rows, &prefetch)
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

  /// Gradients and updates of a wide stage's kernel, for the tiles that `member` owns: tile by tile, because a tile's
  /// gradients are laid out but once.
  @inline(__always)
  private func finishWide(
    _ member: Int, _ index: Int, _ wide: WideProducts<Scalar>, rows: Int, _ prefetch: inout BatchPrefetch?
  ) {
    let stage = stages[index]
    let owned = TileGrid.owned(by: member, of: threads, count: stage.tileCount)
    if owned.isEmpty { return }
    let blockRows = wide.gradientRows
    wide.prepareGradient(member, inputs: input(of: index, member).rows(0..<rows))
    for tile in owned {
      let bound = stage.tiles[tile]
      let width = bound.kernelStride
      wide.prepareGradient(member, outputs: stage.outputGradient.rows(0..<rows).columns(bound.columns))
      var row = 0
      while row < stage.input.columns {
        let block = row..<min(row + blockRows, stage.input.columns)
        row = block.upperBound
        let offset = bound.region.lowerBound + block.lowerBound * width
        let count = block.count * width
        prefetch?.advance(weights: count)
        let gradient = update == nil ? store.gradients.baseAddress + offset : scratch(of: member)
        wide.makeGradient(
          member, samples: rows, block, into: MatrixView(base: gradient, rows: block.count, columns: width))
        update?.apply(to: store, start: offset, count: count, gradients: gradient, kernels: table.optimizers)
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
    let lead = (rows - 1) / TiledProduct.gradientDepth * TiledProduct.gradientDepth
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
}

extension BoundStage {
  /// Whether the team shares the stage tile by tile.
  @inline(__always)
  var isTiled: Bool {
    switch core {
    case .dense, .columns: true
    case .softmax, .whole: false
    }
  }
}
