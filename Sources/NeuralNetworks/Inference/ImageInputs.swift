import Kernels
import LinearAlgebra

/// The first product of a program for inputs that are images: samples of bytes are multiplied as bytes.
///
/// A sample of scalars is taken for bytes where each is k/255: pixels of images that somebody has scaled. Each is looked at
/// by itself, and its sums are exact (`ByteProductKernels`), so that an output's bits do not depend on its batch.
///
/// Cost: three quarters of the product in scalars, and a pass over the inputs.
final class ImageInputs<Scalar: NetworkScalar>: Sendable {
  /// Bytes of scratch memory for each sample.
  let stride: Int
  private let columns: Int
  private let digits: AlignedBuffer<Int8>
  private let units: AlignedBuffer<Scalar>
  private let kernel: DigitColumns<Scalar>
  private let multiplyBytes: @Sendable (ByteBatch, DigitColumns<Scalar>, Double, MatrixView<Scalar>) -> Void
  private let recognize: @Sendable (UnsafePointer<Scalar>, Int, UnsafeMutablePointer<UInt8>) -> Bool

  /// The least inputs and units for which it is worth the while.
  private static var fewestInputs: Int { 64 }
  private static var fewestUnits: Int { 48 }
  /// The most samples whose kinds `recognized` can tell.
  static var mostSamples: Int { UInt64.bitWidth }

  /// Nil where the CPU has no such products, and where they do not pay or hold.
  init?(kernel w: MatrixView<Scalar>, table: KernelTable<Scalar>) {
    let kernels = table.byteProducts
    guard let takeApart = kernels.takeApart, let multiply = kernels.multiply, let recognize = kernels.recognize,
      w.rows >= Self.fewestInputs, w.columns >= Self.fewestUnits, w.rows <= ByteBatch.longestSum,
      table.reductions.allFinite(w.base, w.rows * w.columns)
    else { return nil }
    multiplyBytes = kernels.multiplyTiles ?? multiply
    self.recognize = recognize
    columns = w.rows
    stride = ByteBatch.stride(columns: w.rows)
    let width = DigitColumns<Scalar>.columnsOfVector
    let vectors = (w.columns + width - 1) / width
    digits = AlignedBuffer(zeroedCapacity: DigitColumns<Scalar>.digitBytes(rows: w.rows, vectors: vectors))
    units = AlignedBuffer(zeroedCapacity: vectors * width)
    kernel = DigitColumns(
      digits: digits.baseAddress, units: units.baseAddress, vectors: vectors, groups: (w.rows + 3) / 4,
      columns: w.columns)
    // Whole vectors are read.
    let whole = AlignedBuffer<Scalar>(zeroedCapacity: w.rows * vectors * width)
    let rows = MatrixView(base: whole.baseAddress, rows: w.rows, columns: vectors * width)
    table.activations.forward(w, nil, rows.columns(0..<w.columns), .linear, 0)
    takeApart(rows, kernel)
  }

  /// Copies `count` samples of bytes.
  @inline(__always)
  func copy(_ bytes: UnsafePointer<UInt8>, _ count: Int, into rows: UnsafeMutablePointer<UInt8>) {
    for sample in 0..<count { (rows + sample * stride).update(from: bytes + sample * columns, count: columns) }
  }

  /// Which of `count` samples are bytes over 255, the first in the lowest bit; writes those.
  @inline(__always)
  func recognized(
    _ scalars: UnsafePointer<Scalar>, _ count: Int, into rows: UnsafeMutablePointer<UInt8>
  ) -> UInt64 {
    var result: UInt64 = 0
    for sample in 0..<count where recognize(scalars + sample * columns, columns, rows + sample * stride) {
      result |= 1 << UInt64(sample)
    }
    return result
  }

  /// y = scale·x·W for the samples `range` of `rows`.
  @inline(__always)
  func multiply(
    _ rows: UnsafeMutablePointer<UInt8>, _ range: Range<Int>, scale: Double, into y: MatrixView<Scalar>
  ) {
    let first = rows + range.lowerBound * stride
    // The same by column is for gradients alone.
    multiplyBytes(
      ByteBatch(rows: first, stride: stride, quads: first, occupied: first, samples: range.count), kernel, scale, y)
  }
}
