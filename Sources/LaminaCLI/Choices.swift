import ArgumentParser
import Lamina

/// Words of the command line that stand for values of the library.
struct Choice<Value> {
  let words: [(String, Value)]

  /// The value of `word`; throws an error that names `flag` where it has none.
  func value(_ word: String, flag: String) throws -> Value {
    guard let found = words.first(where: { $0.0 == word }) else {
      throw ValidationError("\(flag) \(word): must be one of \(words.map(\.0).joined(separator: ", "))")
    }
    return found.1
  }
}

extension Activation {
  static var choice: Choice<Activation> {
    Choice(
      words: [.relu, .leakyReLU(), .elu(), .selu, .gelu, .sigmoid, .tanh, .linear].map { ($0.kind, $0) })
  }
}

extension Initializer {
  static var choice: Choice<Initializer> {
    Choice(words: [
      ("glorot_uniform", .glorotUniform), ("glorot_normal", .glorotNormal), ("he_uniform", .heUniform),
      ("he_normal", .heNormal), ("lecun_uniform", .lecunUniform), ("lecun_normal", .lecunNormal),
      ("orthogonal", .orthogonal()), ("normal", .normal()), ("zeros", .zeros), ("ones", .ones),
    ])
  }
}

extension ScalingMethod: ExpressibleByArgument {}

extension LearningRateSchedule: ExpressibleByArgument {}

extension ClassifierRecipe.Normalization: ExpressibleByArgument {}

/// The precisions of a network.
enum Precision: String, CaseIterable, ExpressibleByArgument {
  case float32, float64
}

/// The optimizers by name.
enum OptimizerName: String, CaseIterable, ExpressibleByArgument {
  case adam, sgd, adamw, rmsprop

  /// The optimizer with Keras's defaults but for what is given.
  func make(learningRate: Double? = nil, momentum: Double? = nil) throws -> any Optimizer {
    var optimizer: any Optimizer
    switch self {
    case .adam: optimizer = Adam()
    case .adamw: optimizer = AdamW()
    case .sgd: optimizer = SGD(momentum: momentum ?? 0)
    case .rmsprop: optimizer = RMSprop(momentum: momentum ?? 0)
    }
    if momentum != nil, self == .adam || self == .adamw {
      throw ValidationError("--momentum is for sgd and rmsprop; \(rawValue) has none")
    }
    if let learningRate { optimizer.learningRate = learningRate }
    return optimizer
  }
}

/// Widths such as `128,64`.
func parseWidths(_ text: String, flag: String) throws -> [Int] {
  if text.isEmpty || text == "none" { return [] }
  return try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
    let word = part.filter { $0 != " " }
    guard let width = Int(word), (1...1_000_000).contains(width) else {
      throw ValidationError(
        "\(flag) \(text): '\(part)' is no width from 1 to 1000000; write for instance \(flag) 128,64")
    }
    return width
  }
}
