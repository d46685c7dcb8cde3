import Kernels
import LinearAlgebra

/// Products of a predictor with what a ReLU leaves, of which lists are made first (`SparseProductKernels`), to the bits of
/// the products that look at all numbers.
struct ListedPanels<Scalar: NetworkScalar>: Sendable {
  private typealias Kernels = SparseProductKernels<Scalar>

  private let isSparse: @Sendable (MatrixView<Scalar>, Int) -> Bool
  private let listRows: @Sendable (MatrixView<Scalar>, UnsafeMutablePointer<UInt8>, Int, Int) -> Void
  private let product:
    @Sendable (UnsafeMutablePointer<UInt8>, SparsePart, UnsafePointer<Scalar>, Int, MatrixView<Scalar>) -> Void

  /// Bytes of lists that there is room for: those of the largest block, but for the many samples that a
  /// user's layer may take together.
  let bytes: Int

  /// The fewest rows for which lists may pay, and of weights that come from afar.
  static var fewestRows: (ofNear: Int, ofFar: Int) { (16, 8) }

  /// Nil where this CPU has no such products, or `steps` none that takes them.
  init?(_ steps: [InferenceStep<Scalar>], blockSamples: Int, table: KernelTable<Scalar>) {
    let kernels = table.sparseProducts
    guard let isSparse = kernels.isSparse, let listRows = kernels.listRows, let multiply = kernels.multiplyPanels
    else { return nil }
    (self.isSparse, self.listRows, product) = (isSparse, listRows, multiply)
    bytes = steps.reduce(0) { most, step in
      guard step.kind == .dense, Kernels.mayPay(terms: step.inputColumns, columns: step.outputColumns) else {
        return most
      }
      let bytes = Self.bytes(rows: blockSamples * step.inputRows, terms: step.inputColumns)
      return max(most, min(bytes, SparseProducts<Scalar>.mostBytes))
    }
    if bytes == 0 { return nil }
  }

  @inline(__always)
  private static func bytes(rows: Int, terms: Int) -> Int {
    SparseProductKernels<Scalar>.bytes(rows: rows, blocks: SparseProductKernels<Scalar>.blocks(terms: terms))
  }

  /// Whether y = x·W is made so.
  @inline(__always)
  func takes(_ x: MatrixView<Scalar>, _ y: MatrixView<Scalar>) -> Bool {
    x.rows >= (asksAhead(x, y) ? Self.fewestRows.ofFar : Self.fewestRows.ofNear)
      && SparseProductKernels<Scalar>.mayPay(terms: x.columns, columns: y.columns)
      && Self.bytes(rows: x.rows, terms: x.columns) <= bytes
      && isSparse(x, SparseProductKernels<Scalar>.mostSixteenths)
  }

  /// y = x·W, of panels of W, with room for lists.
  @inline(__always)
  func multiply(
    _ x: MatrixView<Scalar>, _ weights: UnsafePointer<Scalar>, into y: MatrixView<Scalar>,
    lists: UnsafeMutablePointer<UInt8>
  ) {
    let blocks = SparseProductKernels<Scalar>.blocks(terms: x.columns)
    listRows(x, lists, 0, blocks)
    let part = SparsePart(
      listedRows: x.rows, listedBlocks: blocks, rows: 0..<x.rows, blocks: 0..<blocks, asksAhead: asksAhead(x, y))
    product(lists, part, weights, x.columns, y)
  }

  @inline(__always)
  private func asksAhead(_ x: MatrixView<Scalar>, _ y: MatrixView<Scalar>) -> Bool {
    SparseProductKernels<Scalar>.asksAhead(terms: x.columns, columns: y.columns)
  }
}
