internal import CKernelShims
import KernelInterface

// Rows are taken in groups of as many as a vector has lanes: one logarithm of a vector then serves the whole group.
// With few classes the whole group is turned round, so that each row has a lane of its own.

// MARK: From logits

func sparseCategoricalFromLogits(
  _ x: MatrixView<Scalar>, _ labels: UnsafePointer<Int32>, _ weights: ConstPointer?, _ gradient: MatrixView<Scalar>?,
  _ scale: Double
) -> LossSums {
  x.columns <= narrowColumns
    ? sparseCategoricalOfBlocks(x, labels, weights, gradient, scale)
    : sparseCategoricalOfRows(x, labels, weights, gradient, scale)
}

/// How many of the first `count` lanes have their maximum at the label, and in `x`, NaN where the loss is, a number.
@inline(__always)
private func hits(_ place: Vector, _ label: Vector, _ x: Vector, _ count: Int) -> Int {
  let number = lam_select_equal(x, x, splat(1), Vector.zero)
  let bits = lam_bits_above(lam_select_equal(place, label, number, Vector.zero), 0)
  return (bits & ((1 << UInt32(count)) - 1)).nonzeroBitCount
}

/// Few classes: a row in each lane.
@inline(__always)
private func sparseCategoricalOfBlocks(
  _ x: MatrixView<Scalar>, _ labels: UnsafePointer<Int32>, _ weights: ConstPointer?, _ gradient: MatrixView<Scalar>?,
  _ scale: Double
) -> LossSums {
  var result = LossSums(loss: 0, correct: 0)
  var block = lam_uninitialized_row_block()
  let columns = Int64(x.columns)
  var group = 0
  // A group's logarithms are taken beside the next one's loads: right after its exponentials they would be waited for.
  var (sum, shifted, first, count) = (splat(1), Vector.zero, 0, 0)
  while true {
    accumulate(logarithm(ofNormal: sum) - shifted, first, count, weights, &result.loss)
    if group >= x.rows { break }
    count = group + lanes <= x.rows ? lanes : x.rows - group
    lam_load_rows(&block, x.base + group * x.stride, Int64(x.stride), Int64(count), columns)
    let label = lam_load_labels(labels + group, Int64(count))
    let softmax = softmax(of: &block, x.columns, label: label)
    result.correct += hits(softmax.place, label, softmax.sum, count)
    (sum, shifted, first) = (softmax.sum, softmax.chosen - softmax.largest, group)
    if let gradient {
      var factor = splat(Scalar(scale))
      if let weights { factor *= load(weights + group, count) }
      let share = factor / softmax.sum
      var number = Vector.zero
      var column: Int64 = 0
      while column < columns {
        let slope = lam_block_column(&block, column) * share
        let own = lam_select_equal(label, number, factor, Vector.zero)
        lam_set_block_column(&block, column, slope - own)
        number += splat(1)
        column &+= 1
      }
      lam_store_rows(
        &block, gradient.base + group * gradient.stride, Int64(gradient.stride), Int64(count), columns)
    }
    group += lanes
  }
  return result
}

/// Many classes: rows one by one, their logarithms together.
@inline(__always)
private func sparseCategoricalOfRows(
  _ x: MatrixView<Scalar>, _ labels: UnsafePointer<Int32>, _ weights: ConstPointer?, _ gradient: MatrixView<Scalar>?,
  _ scale: Double
) -> LossSums {
  var result = LossSums(loss: 0, correct: 0)
  var group = 0
  while group < x.rows {
    let count = group + lanes <= x.rows ? lanes : x.rows - group
    var sums = splat(1)
    var shifted = Vector.zero
    var lane = 0
    while lane < count {
      let row = group + lane
      let line = x.base + row * x.stride
      let label = Int(labels[row])
      let chosen = line[label]
      let (largest, column) = rowMaximum(line, x.columns)
      let target = gradient.map { $0.base + row * $0.stride }
      let sum = exponentialSum(line, x.columns, largest, target)
      if let target {
        let factor = weights.map { Scalar(scale) * $0[row] } ?? Scalar(scale)
        scaleRow(target, x.columns, factor / sum)
        target[label] -= factor
      }
      if column == label && sum == sum { result.correct += 1 }
      sums = lam_with_lane(sums, lane, sum)
      shifted = lam_with_lane(shifted, lane, chosen - largest)
      lane += 1
    }
    accumulate(logarithm(ofNormal: sums) - shifted, group, count, weights, &result.loss)
    group += lanes
  }
  return result
}

func categoricalFromLogits(
  _ x: MatrixView<Scalar>, _ targets: MatrixView<Scalar>, _ weights: ConstPointer?, _ gradient: MatrixView<Scalar>?,
  _ scale: Double
) -> LossSums {
  x.columns <= narrowColumns
    ? categoricalOfBlocks(x, targets, weights, gradient, scale)
    : categoricalOfRows(x, targets, weights, gradient, scale)
}

/// Few classes: a row in each lane.
@inline(__always)
private func categoricalOfBlocks(
  _ x: MatrixView<Scalar>, _ targets: MatrixView<Scalar>, _ weights: ConstPointer?, _ gradient: MatrixView<Scalar>?,
  _ scale: Double
) -> LossSums {
  var result = LossSums(loss: 0, correct: 0)
  var (block, target) = (lam_uninitialized_row_block(), lam_uninitialized_row_block())
  let columns = Int64(x.columns)
  var group = 0
  while group < x.rows {
    let count = group + lanes <= x.rows ? lanes : x.rows - group
    lam_load_rows(&block, x.base + group * x.stride, Int64(x.stride), Int64(count), columns)
    lam_load_rows(&target, targets.base + group * targets.stride, Int64(targets.stride), Int64(count), columns)
    // Σ t·(x − max), and where the target is largest; x − max is gone once the softmax has been taken.
    var largest = lam_block_column(&block, 0)
    var best = lam_block_column(&target, 0)
    var label = Vector.zero
    var column: Int64 = 1
    while column < columns {
      let t = lam_block_column(&target, column)
      label = lam_select_less(best, t, splat(Scalar(column)), label)
      best = lam_max(best, t)
      largest = lam_max(largest, lam_block_column(&block, column))
      column &+= 1
    }
    var (mass, product) = (Vector.zero, Vector.zero)
    column = 0
    while column < columns {
      let t = lam_block_column(&target, column)
      let deficit = lam_block_column(&block, column) - largest
      mass += t
      product += lam_select_equal(t, Vector.zero, Vector.zero, t * deficit)
      column &+= 1
    }
    let softmax = softmax(of: &block, x.columns)
    if let gradient {
      var factor = splat(Scalar(scale))
      if let weights { factor *= load(weights + group, count) }
      let share = factor * mass / softmax.sum
      column = 0
      while column < columns {
        let own = lam_block_column(&target, column) * factor
        lam_set_block_column(&block, column, lam_block_column(&block, column) * share - own)
        column &+= 1
      }
      lam_store_rows(
        &block, gradient.base + group * gradient.stride, Int64(gradient.stride), Int64(count), columns)
    }
    let losses = logarithm(ofNormal: softmax.sum) * mass - product
    result.correct += hits(softmax.place, label, losses, count)
    accumulate(losses, group, count, weights, &result.loss)
    group += lanes
  }
  return result
}

/// Many classes: rows one by one, their logarithms together.
@inline(__always)
private func categoricalOfRows(
  _ x: MatrixView<Scalar>, _ targets: MatrixView<Scalar>, _ weights: ConstPointer?, _ gradient: MatrixView<Scalar>?,
  _ scale: Double
) -> LossSums {
  var result = LossSums(loss: 0, correct: 0)
  var group = 0
  while group < x.rows {
    let count = group + lanes <= x.rows ? lanes : x.rows - group
    var sums = splat(1)
    var masses = Vector.zero
    var products = Vector.zero
    var lane = 0
    while lane < count {
      let row = group + lane
      let line = x.base + row * x.stride
      let target = targets.base + row * targets.stride
      let (largest, column) = rowMaximum(line, x.columns)
      let (_, label) = rowMaximum(target, x.columns)
      let (mass, product) = targetProducts(line, target, x.columns, largest)
      let slope = gradient.map { $0.base + row * $0.stride }
      let sum = exponentialSum(line, x.columns, largest, slope)
      if let slope {
        let factor = weights.map { Scalar(scale) * $0[row] } ?? Scalar(scale)
        let (share, each) = (splat(factor * mass / sum), splat(factor))
        var c = 0
        while c < x.columns {
          let p = loadChunk(slope, c, x.columns, 0)
          storeChunk(slope, c, x.columns, p * share - loadChunk(target, c, x.columns, 0) * each)
          c += lanes
        }
      }
      if column == label && sum == sum { result.correct += 1 }
      sums = lam_with_lane(sums, lane, sum)
      masses = lam_with_lane(masses, lane, mass)
      products = lam_with_lane(products, lane, product)
      lane += 1
    }
    accumulate(logarithm(ofNormal: sums) * masses - products, group, count, weights, &result.loss)
    group += lanes
  }
  return result
}

/// Σ e^(x − largest) over a row; the exponentials are kept in `kept` where that is given (it may be the row itself).
@inline(__always)
private func exponentialSum(_ row: ConstPointer, _ columns: Int, _ largest: Scalar, _ kept: Pointer?) -> Scalar {
  let shift = splat(largest)
  var sum = Vector.zero
  var column = 0
  while column < columns {
    let exponentials = exponentialOfDeficit(loadChunk(row, column, columns, -Scalar.infinity) - shift)
    if let kept { storeChunk(kept, column, columns, exponentials) }
    sum += exponentials
    column += lanes
  }
  return lam_sum(sum)
}

@inline(__always)
private func scaleRow(_ row: Pointer, _ columns: Int, _ factor: Scalar) {
  var column = 0
  while column < columns {
    storeChunk(row, column, columns, loadChunk(row, column, columns, 0) * splat(factor))
    column += lanes
  }
}

/// Σ t and Σ t·(x − largest); where t is 0 the term is 0, even for x = −∞.
@inline(__always)
private func targetProducts(
  _ row: ConstPointer, _ target: ConstPointer, _ columns: Int, _ largest: Scalar
) -> (mass: Scalar, product: Scalar) {
  let shift = splat(largest)
  var (mass, product) = (Vector.zero, Vector.zero)
  var column = 0
  while column < columns {
    let t = loadChunk(target, column, columns, 0)
    let d = loadChunk(row, column, columns, 0) - shift
    mass += t
    product += lam_select_equal(t, Vector.zero, Vector.zero, t * d)
    column += lanes
  }
  return (lam_sum(mass), lam_sum(product))
}

// MARK: From probabilities

// With q = p/Σp, u = 1 where q is not clipped (else 0) and T = Σ t·u: ∂(−Σ t·log q)/∂p = (T − t·u/q)/Σp.

func sparseCategoricalFromProbabilities(
  _ p: MatrixView<Scalar>, _ labels: UnsafePointer<Int32>, _ weights: ConstPointer?, _ gradient: MatrixView<Scalar>?,
  _ scale: Double
) -> LossSums {
  var result = LossSums(loss: 0, correct: 0)
  var group = 0
  while group < p.rows {
    let count = group + lanes <= p.rows ? lanes : p.rows - group
    var chosen = splat(1)
    var lane = 0
    while lane < count {
      let row = group + lane
      let line = p.base + row * p.stride
      let label = Int(labels[row])
      let (_, column) = rowMaximum(line, p.columns)
      let sum = rowSum(line, p.columns)
      let q = line[label] / sum
      if let gradient {
        let slope = gradient.base + row * gradient.stride
        let factor = weights.map { Scalar(scale) * $0[row] } ?? Scalar(scale)
        let clipped = q < smallestProbability || q > largestProbability
        let share = clipped ? 0 : factor / sum
        var c = 0
        while c < p.columns {
          storeChunk(slope, c, p.columns, splat(share))
          c += lanes
        }
        if !clipped { slope[label] = (1 - 1 / q) * share }
      }
      if column == label && sum == sum { result.correct += 1 }
      chosen = lam_with_lane(chosen, lane, q)
      lane += 1
    }
    accumulate(-logarithm(ofNormal: clip(chosen)), group, count, weights, &result.loss)
    group += lanes
  }
  return result
}

func categoricalFromProbabilities(
  _ p: MatrixView<Scalar>, _ targets: MatrixView<Scalar>, _ weights: ConstPointer?, _ gradient: MatrixView<Scalar>?,
  _ scale: Double
) -> LossSums {
  var result = LossSums(loss: 0, correct: 0)
  for row in 0..<p.rows {
    let line = p.base + row * p.stride
    let target = targets.base + row * targets.stride
    let (_, column) = rowMaximum(line, p.columns)
    let (_, label) = rowMaximum(target, p.columns)
    let sum = rowSum(line, p.columns)
    let divisor = splat(sum)
    var (loss, mass) = (Vector.zero, Vector.zero)
    var c = 0
    while c < p.columns {
      let q = loadChunk(line, c, p.columns, 0) / divisor
      let t = loadChunk(target, c, p.columns, 0)
      loss -= t * logarithm(ofNormal: clip(q))
      mass += lam_select_within(q, smallestProbability, largestProbability, t)
      c += lanes
    }
    let weight = weights.map { $0[row] } ?? 1
    if let gradient {
      let slope = gradient.base + row * gradient.stride
      let total = splat(lam_sum(mass))
      let share = splat(Scalar(scale) * weight / sum)
      c = 0
      while c < p.columns {
        let q = loadChunk(line, c, p.columns, 0) / divisor
        let t = loadChunk(target, c, p.columns, 0)
        let own = lam_select_within(q, smallestProbability, largestProbability, t / q)
        storeChunk(slope, c, p.columns, (total - own) * share)
        c += lanes
      }
    }
    if column == label && sum == sum { result.correct += 1 }
    result.loss += Double(weight) * Double(lam_sum(loss))
  }
  return result
}

@inline(__always)
private func clip(_ q: Vector) -> Vector {
  lam_min(lam_max(q, splat(smallestProbability)), splat(largestProbability))
}

@inline(__always)
private func rowSum(_ row: ConstPointer, _ columns: Int) -> Scalar {
  var sum = Vector.zero
  var column = 0
  while column < columns {
    sum += loadChunk(row, column, columns, 0)
    column += lanes
  }
  return lam_sum(sum)
}
