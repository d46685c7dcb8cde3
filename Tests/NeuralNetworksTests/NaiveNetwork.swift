import KernelInterface
import NeuralNetworks
import ReferenceKernels

/// A network in plain loops, with nothing of the engine's: the oracle of whole models, in any precision.
///
/// Dense layers with a bias, each followed by operations on its columns; the last layer's outputs are logits of a sparse
/// categorical cross-entropy.
struct NaiveNetwork<T: BinaryFloatingPoint> {
  /// What follows a product.
  enum Operation {
    case activation(ElementwiseActivation, alpha: Double)
    case normalization(epsilon: Double)
  }

  /// One layer's settings and parameters; matrices row-major.
  struct Layer {
    var inputs: Int
    var units: Int
    var kernel: [T]
    var bias: [T]
    var operations: [Operation]
    /// γ and β of each operation; empty where it is no normalization.
    var gammas: [[T]]
    var betas: [[T]]
  }

  /// Results of a training step: what the engine is held against, by the engine's names.
  struct Gradients {
    var loss = 0.0
    var logits: [T] = []
    var kernels: [[T]] = []
    var biases: [[T]] = []
    var gammas: [[T]] = []
    var betas: [[T]] = []
    var means: [[T]] = []
    var variances: [[T]] = []
  }

  /// What one operation leaves for the way back.
  private struct Trace {
    var input: [T]
    var output: [T]
    var mean: [T] = []
    var inverse: [T] = []
  }

  var layers: [Layer]

  /// Forward in training mode, loss, and all gradients, for `rows` samples.
  func step(_ x: [T], labels: [Int32], rows: Int) -> Gradients {
    var result = Gradients()
    var inputs: [[T]] = []
    var traces: [[Trace]] = []
    var current = x
    for layer in layers {
      inputs.append(current)
      current = product(current, layer, rows)
      var layerTraces: [Trace] = []
      for (index, operation) in layer.operations.enumerated() {
        let trace = forward(operation, layer, index, current, rows, &result)
        current = trace.output
        layerTraces.append(trace)
      }
      traces.append(layerTraces)
    }
    result.logits = current
    var gradient = loss(current, labels, rows, &result)
    for index in layers.indices.reversed() {
      let layer = layers[index]
      for number in layer.operations.indices.reversed() {
        gradient = backward(layer, number, traces[index][number], gradient, rows, &result)
      }
      gradient = backwardProduct(layer, inputs[index], gradient, rows, &result)
    }
    result.kernels.reverse()
    result.biases.reverse()
    result.gammas.reverse()
    result.betas.reverse()
    return result
  }

  // MARK: Forward

  private func product(_ x: [T], _ layer: Layer, _ rows: Int) -> [T] {
    var z = [T](repeating: 0, count: rows * layer.units)
    for row in 0..<rows {
      for unit in 0..<layer.units {
        var sum: T = 0
        for k in 0..<layer.inputs { sum += x[row * layer.inputs + k] * layer.kernel[k * layer.units + unit] }
        z[row * layer.units + unit] = sum + layer.bias[unit]
      }
    }
    return z
  }

  private func forward(
    _ operation: Operation, _ layer: Layer, _ index: Int, _ input: [T], _ rows: Int, _ result: inout Gradients
  ) -> Trace {
    var input = input
    var trace = Trace(input: input, output: input)
    let columns = layer.units
    input.withView(rows, columns) { x in
      trace.output.withView(rows, columns) { y in
        switch operation {
        case .activation(let kind, let alpha):
          ReferenceKernels.activate(x, bias: nil, into: y, kind: kind, alpha: alpha)
        case .normalization(let epsilon):
          var mean = [T](repeating: 0, count: columns)
          var variance = mean
          ReferenceKernels.moments(x, mean: &mean, variance: &variance)
          let inverse = variance.map { 1 / ($0 + T(epsilon)).squareRoot() }
          ReferenceKernels.normalize(
            x, mean: mean, inverseDeviation: inverse, gamma: layer.gammas[index], beta: layer.betas[index], into: y,
            relu: false)
          result.means.append(mean)
          result.variances.append(variance)
          trace.mean = mean
          trace.inverse = inverse
        }
      }
    }
    return trace
  }

  private func loss(_ logits: [T], _ labels: [Int32], _ rows: Int, _ result: inout Gradients) -> [T] {
    var logits = logits
    var gradient = logits
    let columns = logits.count / rows
    logits.withView(rows, columns) { x in
      gradient.withView(rows, columns) { dx in
        let sums = ReferenceKernels.sparseCategoricalFromLogits(x, labels, nil, dx, 1 / Double(rows))
        result.loss = sums.loss / Double(rows)
      }
    }
    return gradient
  }

  // MARK: Backward

  private func backward(
    _ layer: Layer, _ index: Int, _ trace: Trace, _ dy: [T], _ rows: Int, _ result: inout Gradients
  ) -> [T] {
    var (input, dy) = (trace.input, dy)
    var dx = dy
    let columns = layer.units
    input.withView(rows, columns) { x in
      dy.withView(rows, columns) { dy in
        dx.withView(rows, columns) { dx in
          switch layer.operations[index] {
          case .activation(let kind, let alpha):
            ReferenceKernels.activateBackward(dy, input: x, into: dx, kind: kind, alpha: alpha)
          case .normalization:
            var dGamma = [T](repeating: 0, count: columns)
            var dBeta = dGamma
            ReferenceKernels.batchNormalizationBackward(
              dy, x, output: nil, mean: trace.mean, inverseDeviation: trace.inverse, gamma: layer.gammas[index],
              dGamma: &dGamma, dBeta: &dBeta, dx: dx, maskInput: false)
            result.gammas.append(dGamma)
            result.betas.append(dBeta)
          }
        }
      }
    }
    return dx
  }

  private func backwardProduct(
    _ layer: Layer, _ x: [T], _ dz: [T], _ rows: Int, _ result: inout Gradients
  ) -> [T] {
    let (inputs, units) = (layer.inputs, layer.units)
    var kernel = [T](repeating: 0, count: inputs * units)
    var bias = [T](repeating: 0, count: units)
    var dx = [T](repeating: 0, count: rows * inputs)
    for row in 0..<rows {
      for unit in 0..<units {
        let slope = dz[row * units + unit]
        bias[unit] += slope
        for k in 0..<inputs {
          kernel[k * units + unit] += x[row * inputs + k] * slope
          dx[row * inputs + k] += layer.kernel[k * units + unit] * slope
        }
      }
    }
    result.kernels.append(kernel)
    result.biases.append(bias)
    return dx
  }
}

extension Array {
  /// Calls `body` with the array as a matrix.
  fileprivate mutating func withView(_ rows: Int, _ columns: Int, _ body: (MatrixView<Element>) -> Void) {
    withUnsafeMutableBufferPointer { buffer in
      if let base = buffer.baseAddress { body(MatrixView(base: base, rows: rows, columns: columns)) }
    }
  }
}
