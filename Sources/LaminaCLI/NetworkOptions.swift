import ArgumentParser
import Lamina

/// The flags that describe a network and its optimizer, shared by `train` and `bench`.
struct NetworkOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Activation of the hidden layers: relu, leaky_relu, elu, selu, gelu, sigmoid, tanh, linear.", valueName: "name"))
  var activation = "relu"

  @Option(
    help: ArgumentHelp(
      "Batch normalization of the hidden layers: after the activation, before it (then without a bias), or none.",
      valueName: "after|before|none"))
  var batchNorm: ClassifierRecipe.Normalization = .after

  @Option(help: ArgumentHelp("Optimizer: adam, sgd, adamw, rmsprop.", valueName: "name"))
  var optimizer: OptimizerName = .adam

  @Option(help: ArgumentHelp("Step size; Keras's default of the optimizer if not given.", valueName: "x"))
  var learningRate: Double?

  @Option(help: ArgumentHelp("Momentum of sgd or rmsprop, in 0 ..< 1.", valueName: "x"))
  var momentum: Double?

  @Option(
    help: ArgumentHelp(
      "First weights: glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal, orthogonal, "
        + "normal, zeros, ones.", valueName: "name"))
  var initializer = "glorot_uniform"

  @Option(help: ArgumentHelp("Rate of the dropout after each hidden block, in 0 ..< 1.", valueName: "x"))
  var dropout = 0.0

  @Option(help: ArgumentHelp("Images per step.", valueName: "n"))
  var batchSize = 32

  @Option(help: ArgumentHelp("Precision of the network.", valueName: "float32|float64"))
  var precision: Precision = .float32

  @Option(help: ArgumentHelp("Threads; if not given LAMINA_THREADS, else chosen by timing.", valueName: "n"))
  var threads: Int?

  func validate() throws {
    _ = try recipe(hiddenWidths: [])
    _ = try optimizer.make(learningRate: learningRate, momentum: momentum)
    guard (0..<1).contains(dropout) else { throw ValidationError("--dropout \(dropout): must be in 0 ..< 1") }
    guard batchSize >= 1 else { throw ValidationError("--batch-size \(batchSize): must be at least 1") }
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads \(threads): must be from 1 to 1024")
    }
    if let learningRate, !(learningRate >= 0 && learningRate.isFinite) {
      throw ValidationError("--learning-rate \(learningRate): must be at least 0 and finite")
    }
    if let momentum, !(0..<1).contains(momentum) {
      throw ValidationError("--momentum \(momentum): must be in 0 ..< 1")
    }
  }

  /// The recipe that the flags describe.
  func recipe(hiddenWidths: [Int]) throws -> ClassifierRecipe {
    ClassifierRecipe(
      hiddenWidths: hiddenWidths, activation: try Activation.choice.value(activation, flag: "--activation"),
      normalization: batchNorm, dropout: dropout,
      initializer: try Initializer.choice.value(initializer, flag: "--initializer"))
  }
}
