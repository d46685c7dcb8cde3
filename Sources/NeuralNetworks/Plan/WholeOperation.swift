import Kernels
import LinearAlgebra

/// An operation on the whole batch that is no stage of tiles: its parts are shared out to the team.
protocol WholeOperation<Scalar> {
  associatedtype Scalar: NetworkScalar
  /// Parts whose results do not depend on each other.
  var partCount: Int { get }
  func forward(
    part: Int, _ input: MatrixView<Scalar>, _ output: MatrixView<Scalar>, _ kernels: StepKernels<Scalar>, _ mode: Mode)
  func backward(
    part: Int, input: MatrixView<Scalar>, output: MatrixView<Scalar>, gradient: MatrixView<Scalar>,
    inputGradient: MatrixView<Scalar>, _ kernels: StepKernels<Scalar>)
}

/// A user's layer with views of its parameters, one part.
final class UserOperation<Scalar: NetworkScalar>: WholeOperation {
  var partCount: Int { 1 }
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
    part: Int, _ input: MatrixView<Scalar>, _ output: MatrixView<Scalar>, _ kernels: StepKernels<Scalar>, _ mode: Mode
  ) {
    layer.forward(input, parameters: parameters, output: output, mode: mode)
  }

  func backward(
    part: Int, input: MatrixView<Scalar>, output: MatrixView<Scalar>, gradient: MatrixView<Scalar>,
    inputGradient: MatrixView<Scalar>, _ kernels: StepKernels<Scalar>
  ) {
    layer.backward(
      input: input, output: output, outputGradient: gradient, parameters: parameters, inputGradient: inputGradient,
      parameterGradients: gradients)
  }
}
