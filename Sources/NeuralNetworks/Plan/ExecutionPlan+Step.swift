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

  /// What makes the products of the stage `index` with its inputs from lists of them, and so the gradient of its kernel.
  @inline(__always)
  func sparseProducts(_ index: Int, _ member: Int, _ owned: Range<Int>, rows: Int) -> SparseProducts<Scalar>? {
    guard let sparse, index > 0 || bytes == nil,
      sparse.takes(stages[index], inputs: input(of: index, member).rows(0..<rows), tiles: owned)
    else { return nil }
    return sparse
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
        let sparse = wide == nil ? sparseProducts(index, member, owned, rows: outputRows) : nil
        if let sparse { sparse.prepare(member, input(of: index, member).rows(0..<outputRows)) }
        let isMultiplied =
          wide == nil && sparse == nil && multiplyInBlocks(member, index, owned, rows: outputRows)
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
            } else if let sparse {
              sparse.multiply(member, w, ofColumns: stage.output.columns, into: product)
            } else if !isMultiplied {
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

  /// The products of the tiles `owned` where the inputs outgrow the caches, a block of rows for one tile after another.
  ///
  /// False where they do not, and nothing was done.
  @inline(__always)
  private func multiplyInBlocks(_ member: Int, _ index: Int, _ owned: Range<Int>, rows: Int) -> Bool {
    let stage = stages[index]
    guard case .dense = stage.core, index > 0 || bytes == nil else { return false }
    let x = input(of: index, member).rows(0..<rows)
    if products.rowsTogether(x) >= rows { return false }
    products.forEachBlock(of: x) { block in
      for tile in owned {
        let bound = stage.tiles[tile]
        guard let kernel = bound.kernel else { continue }
        let w = MatrixView(base: kernel, rows: x.columns, columns: bound.kernelStride)
        products.multiply(x.rows(block), w, into: bound.product.rows(block))
      }
    }
    return true
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
        } else if let sparse,
          sparse.takes(stage, outputGradient: stage.outputGradient.rows(0..<rows), inputTiles: owned)
        {
          multiplySparse(member, stage, sparse, rows: rows, owned, into: inputGradient)
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

  /// The gradient of the inputs from lists of that of the outputs.
  @inline(__always)
  private func multiplySparse(
    _ member: Int, _ stage: BoundStage<Scalar>, _ sparse: SparseProducts<Scalar>, rows: Int, _ owned: Range<Int>,
    into inputGradient: MatrixView<Scalar>
  ) {
    sparse.prepare(member, stage.outputGradient.rows(0..<rows))
    for tile in owned {
      let columns = stage.inputTiles[tile]
      let w = products.transposed(
        stage.kernels, stage.tileCount, columns: columns, rowsOf: inputGradient, scratch: scratch(of: member))
      sparse.multiply(member, w, ofColumns: nil, into: inputGradient.rows(0..<rows).columns(columns))
    }
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
