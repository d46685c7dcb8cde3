import Kernels
import LinearAlgebra

/// An operation that one member of the team computes for the whole batch.
protocol WholeOperation<Scalar> {
  associatedtype Scalar: NetworkScalar
  func forward(
    _ input: MatrixView<Scalar>, _ output: MatrixView<Scalar>, _ kernels: StepKernels<Scalar>, _ mode: Mode)
  func backward(
    input: MatrixView<Scalar>, output: MatrixView<Scalar>, gradient: MatrixView<Scalar>,
    inputGradient: MatrixView<Scalar>, _ kernels: StepKernels<Scalar>)
}

/// A user's layer with views of its parameters.
final class UserOperation<Scalar: NetworkScalar>: WholeOperation {
  private let layer: any CustomLayer<Scalar>
  private let parameters: [MatrixView<Scalar>]
  private let gradients: [MatrixView<Scalar>]
  // Where the gradients of parameters that are not trainable go.
  private let unwanted: AlignedBuffer<Scalar>

  init(layer: any CustomLayer<Scalar>, parameters indices: [Int], store: ParameterStore<Scalar>) {
    self.layer = layer
    let slots = indices.map { store.slots[$0] }
    let unwanted = AlignedBuffer<Scalar>(
      zeroedCapacity: slots.filter { !$0.specification.isTrainable }.map(\.count).max() ?? 0)
    self.unwanted = unwanted
    parameters = indices.map {
      MatrixView(base: store.pointer($0, tile: 0), rows: store.slots[$0].rows, columns: store.slots[$0].columns)
    }
    gradients = indices.map {
      let slot = store.slots[$0]
      let base = slot.specification.isTrainable ? store.gradientPointer($0, tile: 0) : unwanted.baseAddress
      return MatrixView(base: base, rows: slot.rows, columns: slot.columns)
    }
  }

  func forward(
    _ input: MatrixView<Scalar>, _ output: MatrixView<Scalar>, _ kernels: StepKernels<Scalar>, _ mode: Mode
  ) {
    layer.forward(input, parameters: parameters, output: output, mode: mode)
  }

  func backward(
    input: MatrixView<Scalar>, output: MatrixView<Scalar>, gradient: MatrixView<Scalar>,
    inputGradient: MatrixView<Scalar>, _ kernels: StepKernels<Scalar>
  ) {
    layer.backward(
      input: input, output: output, outputGradient: gradient, parameters: parameters, inputGradient: inputGradient,
      parameterGradients: gradients)
  }
}

/// Batch normalization of an axis that is not the last, by way of a copy in which it is.
///
/// Samples are (outer, features, inner); the copy is (batch·outer·inner, features), on which the column kernels work.
final class InnerAxisNormalization<Scalar: NetworkScalar>: WholeOperation {
  private let normalization: BoundNormalization<Scalar>
  private let inner: Int
  // The packed input is kept for the backward pass; the other buffer holds the packed output, then the gradient.
  private let packedInput: AlignedBuffer<Scalar>
  private let packedOther: AlignedBuffer<Scalar>

  init(_ normalization: BoundNormalization<Scalar>, inner: Int, elements: Int) {
    self.normalization = normalization
    self.inner = inner
    packedInput = AlignedBuffer(zeroedCapacity: elements)
    packedOther = AlignedBuffer(zeroedCapacity: elements)
  }

  func forward(
    _ input: MatrixView<Scalar>, _ output: MatrixView<Scalar>, _ kernels: StepKernels<Scalar>, _ mode: Mode
  ) {
    let x = pack(input, into: packedInput)
    let y = MatrixView(base: packedOther.baseAddress, rows: x.rows, columns: x.columns)
    kernels.normalizeForward(normalization, x, y, mode)
    unpack(y, into: output)
  }

  func backward(
    input: MatrixView<Scalar>, output: MatrixView<Scalar>, gradient: MatrixView<Scalar>,
    inputGradient: MatrixView<Scalar>, _ kernels: StepKernels<Scalar>
  ) {
    let dy = pack(gradient, into: packedOther)
    let x = MatrixView(base: packedInput.baseAddress, rows: dy.rows, columns: dy.columns)
    kernels.normalizeBackward(normalization, x, dy)
    unpack(dy, into: inputGradient)
  }

  /// Calls `body` with the index of each element in memory order and its place in the packed matrix.
  @inline(__always)
  private func forEachElement(_ view: MatrixView<Scalar>, _ body: (Int, Int) -> Void) {
    let features = normalization.count
    let blocks = view.rows * view.columns / (features * inner)
    for block in 0..<blocks {
      for feature in 0..<features {
        for position in 0..<inner {
          body((block * features + feature) * inner + position, (block * inner + position) * features + feature)
        }
      }
    }
  }

  // Matrices with more than one row per sample, the only ones with an inner axis, have no gaps between rows.
  private func pack(_ view: MatrixView<Scalar>, into buffer: AlignedBuffer<Scalar>) -> MatrixView<Scalar> {
    forEachElement(view) { element, packed in buffer.baseAddress[packed] = view.base[element] }
    let features = normalization.count
    return MatrixView(base: buffer.baseAddress, rows: view.rows * view.columns / features, columns: features)
  }

  private func unpack(_ packed: MatrixView<Scalar>, into view: MatrixView<Scalar>) {
    forEachElement(view) { element, place in view.base[element] = packed.base[place] }
  }
}
