import Kernels
import LinearAlgebra

/// One dense layer outside of a network, computed as a training step computes it: what its parts cost can be measured.
///
/// The kernel lies in tiles, rows are padded, the team shares the tiles, and the products are those of `StepProducts` and
/// `WideProducts`, as in `ExecutionPlan`.
package final class DenseLayerWork<Scalar: NetworkScalar>: TeamJob {
  /// What a run computes.
  package enum Part: Sendable {
    /// z = x·W.
    case product
    /// dx = dz·Wᵀ.
    case inputGradient
    /// dW = xᵀ·dz.
    case kernelGradient
    /// y = f(x·W + b), then from dy: dz, db, dx and dW.
    case layer
  }

  /// rows × inputs.
  package let input: MatrixView<Scalar>
  /// rows × outputs: z after `product`, y after `layer`.
  package let output: MatrixView<Scalar>
  /// rows × outputs: dz; `layer` makes it from dy.
  package let outputGradient: MatrixView<Scalar>
  /// rows × outputs: dy.
  package let givenGradient: MatrixView<Scalar>
  /// rows × inputs: dx.
  package let inputGradient: MatrixView<Scalar>
  /// outputs values: b and db.
  package let bias, biasGradient: UnsafeMutablePointer<Scalar>

  /// Where x·W goes: `output` itself unless the gradient of the activation needs it.
  private let productMatrix: MatrixView<Scalar>
  // Bare memory: a run counts no references.
  private let tiles: UnsafeMutableBufferPointer<Tile>
  private let kernelViews: UnsafeMutableBufferPointer<MatrixView<Scalar>>
  private let inputTiles: UnsafeMutableBufferPointer<Range<Int>>
  private let kernels: StepKernels<Scalar>
  private let products: StepProducts<Scalar>
  private let wide: WideProducts<Scalar>?
  private let shape: WideProducts<Scalar>.Shape
  /// f with its parameter.
  package let activation: (kind: ElementwiseActivation, alpha: Double)
  private let team: WorkerTeam
  private let memory: AlignedBuffer<Scalar>
  private let scratchMemory: AlignedBuffer<Scalar>
  private let scratchPerMember: Int
  private var part = Part.product
  private var times = 1

  private struct Tile {
    var columns: Range<Int>
    var stride: Int
    var kernel: UnsafeMutablePointer<Scalar>
    var gradient: UnsafeMutablePointer<Scalar>
  }

  /// A layer of zeros for batches of `rows`.
  ///
  /// - Throws: `InstructionSetError` where `LAMINA_KERNELS` is wrong; `ModelError` for softmax, or where the system refuses a thread.
  package init(rows: Int, inputs: Int, outputs: Int, activation: Activation = .linear, threads: Int) throws {
    guard let elementwise = activation.elementwise else {
      throw ModelError.argument(name: "activation", problem: "must act on each element alone")
    }
    BLAS.prepare()
    self.activation = elementwise
    let table = try Scalar.kernels()
    kernels = StepKernels(table)
    products = StepProducts(table)
    team = try WorkerTeam(size: threads)
    let boundaries = TileGrid.boundaries(columns: outputs, inputs: inputs)
    let columns = zip(boundaries, boundaries.dropFirst()).map { $0..<$1 }
    shape = WideProducts.Shape(rows: rows, inputs: inputs, units: outputs, tiles: columns.count)
    wide = WideProducts(shapes: [shape], table: table, members: threads)
    let inputBoundaries = TileGrid.boundaries(columns: inputs)
    inputTiles = Self.copy(zip(inputBoundaries, inputBoundaries.dropFirst()).map { $0..<$1 })
    func place(_ arena: inout PlanArena<Scalar>) -> ([MatrixView<Scalar>], [UnsafeMutablePointer<Scalar>], [Tile]) {
      let matrices = [inputs, inputs, outputs, outputs, outputs, outputs].map {
        arena.matrix(rows: rows, columns: $0, contiguous: false)
      }
      let vectors = [arena.vector(outputs), arena.vector(outputs)]
      let tiles = columns.map { columns in
        let stride = ParameterStore<Scalar>.paddedWidth(columns.count)
        return Tile(
          columns: columns, stride: stride, kernel: arena.lastVector(inputs * stride),
          gradient: arena.lastVector(inputs * stride))
      }
      return (matrices, vectors, tiles)
    }
    var measure = PlanArena<Scalar>(base: nil)
    _ = place(&measure)
    memory = AlignedBuffer(zeroedCapacity: measure.used)
    var arena = PlanArena<Scalar>(base: memory.baseAddress)
    let (matrices, vectors, placed) = place(&arena)
    (input, inputGradient, output) = (matrices[0], matrices[1], matrices[2])
    (outputGradient, givenGradient) = (matrices[3], matrices[4])
    productMatrix = elementwise.kind.gradientNeedsInput ? matrices[5] : matrices[2]
    (bias, biasGradient, tiles) = (vectors[0], vectors[1], Self.copy(placed))
    kernelViews = Self.copy(
      placed.map { MatrixView(base: $0.kernel, rows: inputs, columns: $0.columns.count, stride: $0.stride) })
    scratchPerMember = 2 * TileGrid.width * max(128, outputs)
    scratchMemory = AlignedBuffer(zeroedCapacity: threads * scratchPerMember)
  }

  deinit {
    tiles.deallocate()
    kernelViews.deallocate()
    inputTiles.deallocate()
  }

  private static func copy<Element>(_ elements: [Element]) -> UnsafeMutableBufferPointer<Element> {
    let buffer = UnsafeMutableBufferPointer<Element>.allocate(capacity: elements.count)
    _ = buffer.initialize(from: elements)
    return buffer
  }

  /// Sets the inputs × outputs kernel: `value(row, column)` each.
  package func setKernel(_ value: (Int, Int) -> Scalar) {
    for tile in tiles {
      for row in 0..<input.columns {
        for column in tile.columns {
          tile.kernel[row * tile.stride + column - tile.columns.lowerBound] = value(row, column)
        }
      }
    }
  }

  /// Copies the kernel's gradient into a row-major inputs × outputs matrix.
  package func copyKernelGradient(into matrix: MatrixView<Scalar>) {
    for tile in tiles {
      for row in 0..<matrix.rows {
        for column in tile.columns {
          matrix.base[row * matrix.stride + column] =
            tile.gradient[row * tile.stride + column - tile.columns.lowerBound]
        }
      }
    }
  }

  /// Computes `part` on the team `times` times over.
  package func run(_ part: Part, times: Int = 1) {
    self.part = part
    self.times = times
    team.run(self)
  }

  func work(member: Int) {
    // Concrete types, so that what follows is specialized.
    if Scalar.self == Float.self {
      unsafeDowncast(self, to: DenseLayerWork<Float>.self).perform(member)
    } else if Scalar.self == Double.self {
      unsafeDowncast(self, to: DenseLayerWork<Double>.self).perform(member)
    } else {
      perform(member)
    }
  }

  @inline(__always)
  private func perform(_ member: Int) {
    for time in 0..<times {
      if time > 0 { team.barrier(member) }
      switch part {
      case .product: multiply(member)
      case .inputGradient: multiplyByTransposedKernel(member)
      case .kernelGradient: makeKernelGradient(member)
      case .layer:
        multiply(member)
        activate(member)
        team.barrier(member)
        activateBackward(member)
        team.barrier(member)
        multiplyByTransposedKernel(member)
        makeKernelGradient(member)
      }
    }
  }

  @inline(__always)
  private func owned(_ member: Int) -> Range<Int> {
    TileGrid.owned(by: member, of: team.size, count: tiles.count)
  }

  @inline(__always)
  private func multiply(_ member: Int) {
    if let wide = wideProducts {
      wide.prepare(member, input)
      for index in owned(member) {
        let tile = tiles[index]
        wide.multiply(member, kernelViews[index], into: productMatrix.columns(tile.columns))
      }
      return
    }
    products.forEachBlock(of: input) { block in
      for index in owned(member) {
        let tile = tiles[index]
        products.multiply(
          input.rows(block), MatrixView(base: tile.kernel, rows: input.columns, columns: tile.stride),
          into: productMatrix.columns(tile.columns).rows(block))
      }
    }
  }

  @inline(__always)
  private var wideProducts: WideProducts<Scalar>? {
    guard let wide, wide.makesProducts(of: shape) else { return nil }
    return wide
  }

  @inline(__always)
  private func activate(_ member: Int) {
    for index in owned(member) {
      let columns = tiles[index].columns
      kernels.activationForward(
        productMatrix.columns(columns), bias + columns.lowerBound, output.columns(columns), activation.kind,
        activation.alpha)
    }
  }

  @inline(__always)
  private func activateBackward(_ member: Int) {
    let saved = activation.kind.gradientNeedsInput ? productMatrix : output
    for index in owned(member) {
      let columns = tiles[index].columns
      let gradient = outputGradient.columns(columns)
      kernels.activationBackward(
        givenGradient.columns(columns), saved.columns(columns), gradient, activation.kind, activation.alpha)
      kernels.columnSums(gradient, biasGradient + columns.lowerBound)
    }
  }

  @inline(__always)
  private func multiplyByTransposedKernel(_ member: Int) {
    let owned = TileGrid.owned(by: member, of: team.size, count: inputTiles.count)
    if let wide = wideProducts {
      return wide.multiplyByTransposed(
        member, outputGradient, kernelViews.baseAddress!, tiles.count, inputTiles: inputTiles.baseAddress!, owned,
        into: inputGradient)
    }
    products.multiplyByTransposed(
      outputGradient, kernelViews.baseAddress!, tiles.count, inputTiles: inputTiles.baseAddress!, owned,
      into: inputGradient, scratch: scratchMemory.baseAddress + member * scratchPerMember)
  }

  @inline(__always)
  private func makeKernelGradient(_ member: Int) {
    let owned = owned(member)
    if let wide, wide.makesGradient(of: shape, inputs: input) { return makeWideGradient(member, owned, wide) }
    var widest = 1
    for index in owned { widest = max(widest, tiles[index].stride) }
    let blockRows = TiledProduct.gradientRows(m: input.columns, n: widest, k: input.rows)
    var row = 0
    while row < input.columns {
      let block = row..<min(row + blockRows, input.columns)
      for index in owned {
        let tile = tiles[index]
        products.multiplyTransposed(
          input.columns(block), outputGradient.columns(tile.columns),
          into: MatrixView(
            base: tile.gradient + block.lowerBound * tile.stride, rows: block.count, columns: tile.stride))
      }
      row = block.upperBound
    }
  }

  /// The same where its factors are laid out first.
  @inline(__always)
  private func makeWideGradient(_ member: Int, _ owned: Range<Int>, _ wide: WideProducts<Scalar>) {
    wide.makeGradients(member, inputs: input, tiles: owned) {
      outputGradient.columns(tiles[$0].columns)
    } use: { index, block, make in
      let tile = tiles[index]
      make(
        MatrixView(base: tile.gradient + block.lowerBound * tile.stride, rows: block.count, columns: tile.stride))
    }
  }
}
