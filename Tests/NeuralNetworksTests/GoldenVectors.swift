import Foundation

/// Reads the golden vectors in `Golden`, which hold results of Keras and PyTorch in float64.
///
/// `Golden/README.md` describes them.
enum GoldenVectors {
  /// Decodes `Golden/<name>.json`.
  static func load<Vectors: Decodable>(_ name: String, as type: Vectors.Type = Vectors.self) throws -> Vectors {
    let file = Bundle.module.bundleURL.appendingPathComponent("Golden/\(name).json")
    return try JSONDecoder().decode(type, from: Data(contentsOf: file))
  }

  /// A row-major array.
  struct Array: Decodable {
    let shape: [Int]
    let values: [Double]

    /// The values in Float: exact for inputs, rounded for results.
    var floats: [Float] { values.map { Float($0) } }
  }

  /// `dense.json`.
  struct Dense: Decodable {
    let x: Array
    let kernel: Array
    let bias: Array
    let dy: Array
    let cases: [Case]

    struct Case: Decodable {
      let activation: String
      let alpha: Double?
      let useBias: Bool
      let y: Array
      let dx: Array
      let dkernel: Array
      let dbias: Array?
    }
  }

  /// `batch_normalization.json`.
  struct BatchNormalization: Decodable {
    let cases: [Case]

    struct Case: Decodable {
      let shape: [Int]
      let axis: Int
      let momentum: Double
      let epsilon: Double
      let center: Bool
      let scale: Bool
      let gamma: Array?
      let beta: Array?
      let movingMean: Array
      let movingVariance: Array
      let steps: [Step]
      let backward: Backward
      let inference: Inference
    }

    struct Step: Decodable {
      let x: Array
      let y: Array
      let movingMean: Array
      let movingVariance: Array
    }

    struct Backward: Decodable {
      let dy: Array
      let dx: Array
      let dgamma: Array?
      let dbeta: Array?
    }

    struct Inference: Decodable {
      let x: Array
      let y: Array
    }
  }

  /// `optimizers.json`.
  struct Optimizers: Decodable {
    let initial: Array
    let gradients: [Array]
    let cases: [Case]

    struct Case: Decodable {
      let optimizer: String
      let learningRate: Double
      let momentum: Double?
      let nesterov: Bool?
      let beta1: Double?
      let beta2: Double?
      let epsilon: Double?
      let weightDecay: Double?
      let rho: Double?
      let centered: Bool?
      let parameters: [Array]
    }
  }

  /// `losses.json`.
  struct Losses: Decodable {
    let cases: [Case]

    struct Case: Decodable {
      let loss: String
      let prediction: Array
      let targets: Array?
      let labels: [Int]?
      let weights: Array?
      let labelSmoothing: Double?
      let value: Double
      let rows: Array
      let gradient: Array
    }
  }

  /// `initializers.json`.
  struct Initializers: Decodable {
    let cases: [Case]

    struct Case: Decodable {
      let initializer: String
      let fanIn: Int
      let fanOut: Int
      let standardDeviation: Double
      let limit: Double
      let untruncatedStandardDeviation: Double?
    }
  }

  /// `training_run.json`.
  struct TrainingRun: Decodable {
    let learningRate: Double
    let beta1: Double
    let beta2: Double
    let adamEpsilon: Double
    let momentum: Double
    let epsilon: Double
    let batches: [Array]
    let labels: [[Int]]
    let kernels: [Array]
    let biases: [Array]
    let gammas: [Array]
    let betas: [Array]
    let runs: [Run]

    struct Run: Decodable {
      let placement: String
      let losses: Array
      let kernels: [Array]
      let biases: [Array]
      let gammas: [Array]
      let betas: [Array]
      let movingMeans: [Array]
      let movingVariances: [Array]
      let inferenceLogits: Array
    }
  }
}
