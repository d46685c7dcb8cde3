// Σ dy and Σ dy·(x − mean) of a block of rows, of which the training gradient is made.

internal import CKernelShims
import KernelInterface

extension BackwardProblem {
  /// The sums of rows `first` to `last`, by blocks, into `whole`, which holds whole vectors.
  @_transparent
  func sums(_ first: Int, _ last: Int, _ whole: ColumnGradientSums, _ block: BlockSums, _ columns: Int) {
    if isMasked {
      sums(first, last, whole, block, columns, masked: true)
    } else {
      sums(first, last, whole, block, columns, masked: false)
    }
  }

  @_transparent
  func sums(_ first: Int, _ last: Int, _ whole: ColumnGradientSums, _ block: BlockSums, _ columns: Int, masked: Bool) {
    var column = 0
    while column < columns {
      lam_store_doubles(whole.beta + column, lam_splat_doubles(0))
      lam_store_doubles(whole.gamma + column, lam_splat_doubles(0))
      column += lanes
    }
    var row = first
    while row < last {
      let end = smaller(row + NormalizationPanels.blockRows, last)
      sumBlock(block, row, end, columns, masked: masked)
      column = 0
      while column < columns {
        let beta = lam_load_doubles(whole.beta + column) + lam_widen(lam_load(block.beta + column))
        let gamma = lam_load_doubles(whole.gamma + column) + lam_widen(lam_load(block.gamma + column))
        lam_store_doubles(whole.beta + column, beta)
        lam_store_doubles(whole.gamma + column, gamma)
        column += lanes
      }
      row = end
    }
  }

  /// The sums of one block, in scalars.
  @_transparent
  func sumBlock(_ block: BlockSums, _ first: Int, _ end: Int, _ columns: Int) {
    if isMasked {
      sumBlock(block, first, end, columns, masked: true)
    } else {
      sumBlock(block, first, end, columns, masked: false)
    }
  }

  @_transparent
  func sumBlock(_ block: BlockSums, _ first: Int, _ end: Int, _ columns: Int, masked: Bool) {
    var column = 0
    while column < columns {
      lam_store(block.beta + column, Vector.zero)
      lam_store(block.gamma + column, Vector.zero)
      column += lanes
    }
    // From memory, rows are asked for in the order in which they lie there: the prefetchers alone lose half of its rate
    // between the rows of a pair. Where other columns lie between them, rows of less than 2 KiB are taken one by one.
    let fromMemory = columns >= longRow && comesFromMemory(dy)
    let ahead = fromMemory && columns == dy.stride && columns == x.stride
    let oneByOne = fromMemory && !ahead && columns < 2 * longRow
    let pairs = ahead || columns >= 2 * longRow
    var row = first
    while row + 8 <= end {
      if oneByOne {
        for pair in 0..<4 {
          let even = row &+ 2 &* pair
          column = 0
          while column <= columns - lanes {
            addFirstOfPair(even, column, block, lanes, masked: masked)
            column &+= lanes
          }
          if column < columns { addFirstOfPair(even, column, block, columns - column, masked: masked) }
          column = 0
          while column <= columns - lanes {
            addSecondOfPair(pair, even &+ 1, column, block, lanes, masked: masked)
            column &+= lanes
          }
          if column < columns { addSecondOfPair(pair, even &+ 1, column, block, columns - column, masked: masked) }
        }
      } else if pairs {
        for pair in 0..<4 {
          let even = row &+ 2 &* pair
          column = 0
          while column <= columns - lanes {
            if ahead { askForPair(even &+ 8, column) }
            addPair(pair, even, column, block, lanes, masked: masked)
            column &+= lanes
          }
          if column < columns { addPair(pair, even, column, block, columns - column, masked: masked) }
        }
      } else {
        column = 0
        while column <= columns - lanes {
          if ahead { askForEight(row, column) }
          addEightRows(row, column, block, lanes, masked: masked)
          column &+= lanes
        }
        if column < columns { addEightRows(row, column, block, columns - column, masked: masked) }
      }
      row += 8
    }
    while row < end {
      column = 0
      while column <= columns - lanes {
        addRow(row, column, block, lanes, masked: masked)
        column += lanes
      }
      if column < columns { addRow(row, column, block, columns - column, masked: masked) }
      row += 1
    }
  }

  /// Σ dy and Σ dy·(x − mean) of two rows, of which the group's sums are made.
  @_transparent
  func pairOfRows(
    _ row: Int, _ column: Int, _ mean: Vector, _ count: Int, _ products: inout Vector, masked: Bool
  ) -> Vector {
    let g0 = gradient(row, column, count, masked: masked)
    let g1 = gradient(row &+ 1, column, count, masked: masked)
    products = lam_multiply_add(
      g1, centered(row &+ 1, column, mean, count), g0 * centered(row, column, mean, count))
    return g0 + g1
  }

  @_transparent
  func addEightRows(_ row: Int, _ column: Int, _ block: BlockSums, _ count: Int, masked: Bool) {
    let mean = load(mean + column, count)
    var (q0, q1, q2, q3) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
    let p0 = pairOfRows(row, column, mean, count, &q0, masked: masked)
    let p1 = pairOfRows(row &+ 2, column, mean, count, &q1, masked: masked)
    let p2 = pairOfRows(row &+ 4, column, mean, count, &q2, masked: masked)
    let p3 = pairOfRows(row &+ 6, column, mean, count, &q3, masked: masked)
    lam_store(block.beta + column, lam_load(block.beta + column) + (((p0 + p1) + p2) + p3))
    lam_store(block.gamma + column, lam_load(block.gamma + column) + (((q0 + q1) + q2) + q3))
  }

  /// Asks for eight lines of each matrix: the share of `column` in eight rows to come, in their order in memory.
  @_transparent
  func askForEight(_ row: Int, _ column: Int) {
    let place = row &* x.stride &+ aheadOfSums &+ 8 &* column
    for line in 0..<8 { lam_prefetch_beyond_first(x.base + (place &+ line &* lanes)) }
    for line in 0..<8 { lam_prefetch_beyond_first(dy.base + (place &+ line &* lanes)) }
  }

  /// Asks for two lines of each matrix: the share of `column` in the two rows from `row` on, in their order in memory.
  @_transparent
  func askForPair(_ row: Int, _ column: Int) {
    let (input, gradient) = (x.base + row &* x.stride + 2 &* column, dy.base + row &* dy.stride + 2 &* column)
    for line in 0..<2 {
      lam_prefetch_beyond_first(input + line &* lanes)
      lam_prefetch_beyond_first(gradient + line &* lanes)
    }
  }

  /// Adds pair 0 … 3 of a group of eight rows to the group's sums, and with the last these to the block's.
  @_transparent
  func addPair(_ pair: Int, _ row: Int, _ column: Int, _ block: BlockSums, _ count: Int, masked: Bool) {
    var q = Vector.zero
    let p = pairOfRows(row, column, load(mean + column, count), count, &q, masked: masked)
    addPair(pair, column, block, p, q)
  }

  /// Sets the first row of a pair aside: the pair's sums are then those of `pairOfRows`.
  @_transparent
  func addFirstOfPair(_ row: Int, _ column: Int, _ block: BlockSums, _ count: Int, masked: Bool) {
    let g = gradient(row, column, count, masked: masked)
    lam_store(block.rowBeta + column, g)
    lam_store(block.rowGamma + column, g * centered(row, column, load(mean + column, count), count))
  }

  /// Adds pair 0 … 3 of a group of eight rows, of which this is the second row, to the group's sums, and with the last
  /// these to the block's.
  @_transparent
  func addSecondOfPair(_ pair: Int, _ row: Int, _ column: Int, _ block: BlockSums, _ count: Int, masked: Bool) {
    let g = gradient(row, column, count, masked: masked)
    let p = lam_load(block.rowBeta + column) + g
    let q = lam_multiply_add(
      g, centered(row, column, load(mean + column, count), count), lam_load(block.rowGamma + column))
    addPair(pair, column, block, p, q)
  }

  @_transparent
  func addPair(_ pair: Int, _ column: Int, _ block: BlockSums, _ beta: Vector, _ gamma: Vector) {
    var (p, q) = (beta, gamma)
    if pair > 0 {
      p = lam_load(block.groupBeta + column) + p
      q = lam_load(block.groupGamma + column) + q
    }
    if pair < 3 {
      lam_store(block.groupBeta + column, p)
      lam_store(block.groupGamma + column, q)
    } else {
      lam_store(block.beta + column, lam_load(block.beta + column) + p)
      lam_store(block.gamma + column, lam_load(block.gamma + column) + q)
    }
  }

  @_transparent
  func addRow(_ row: Int, _ column: Int, _ block: BlockSums, _ count: Int, masked: Bool) {
    let g = gradient(row, column, count, masked: masked)
    let beta = block.beta + column
    let gamma = block.gamma + column
    lam_store(beta, lam_load(beta) + g)
    lam_store(gamma, lam_multiply_add(g, centered(row, column, load(mean + column, count), count), lam_load(gamma)))
  }
}
