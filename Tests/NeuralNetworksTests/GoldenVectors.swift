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

  /// `normalization_conventions.json`.
  struct NormalizationConventions: Decodable {
    let cases: [Case]

    struct Case: Decodable {
      let seed: Int
      let convention: String
      let shape: [Int]
      let axis: Int
      let mode: String
      let affine: Bool
      let renorm: Renorm?
      let y: Array
      let dx: Array
      let dgamma: Array?
      let dbeta: Array?
      let meanAfterOne: Array
      let varianceAfterOne: Array
      let mean: Array
      let variance: Array
      let inference: Array
    }

    struct Renorm: Decodable {
      let rmax: Double
      let rmin: Double
      let dmax: Double
    }
  }

  /// `layer_normalization.json`.
  struct LayerNormalization: Decodable {
    let cases: [Case]

    struct Case: Decodable {
      let seed: Int
      let shape: [Int]
      let epsilon: Double
      let center: Bool
      let scale: Bool
      let y: Array
      let dx: Array
      let dgamma: Array?
      let dbeta: Array?
    }
  }

  /// `trajectories.json`.
  struct Trajectories: Decodable {
    let runs: [Run]

    struct Run: Decodable {
      let seed: Int
      let framework: String
      let placement: String
      let optimizer: String
      let losses: Array
      let final: [Array]
    }
  }

  /// Inputs that the script and the tests make from a seed: sums of four 10-bit fields of splitmix64, as multiples of
  /// 1/256 around 0.
  static func hashed(seed: Int, count: Int) -> [Double] {
    (0..<UInt64(count)).map { index in
      var z = ((UInt64(seed) << 32) &+ index &+ 1) &* 0x9e37_79b9_7f4a_7c15
      z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
      z ^= z >> 31
      let sum = (0..<4).reduce(0) { $0 + Int((z >> UInt64(16 * $1)) & 1023) }
      return Double(sum - 2046) / 256
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
