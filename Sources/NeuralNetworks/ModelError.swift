/// What is wrong with a model, or with what it was asked to do.
public enum ModelError: Error, Equatable, CustomStringConvertible {
  /// A layer cannot take the shape it gets, or has a bad setting.
  case layer(name: String, problem: String)
  /// Two layers or parameters have one name.
  case duplicateName(String)
  /// The model has no input shape yet.
  case notBuilt
  /// The model was used for training or evaluation before `compile`.
  case notCompiled
  /// The model has no layers.
  case empty
  /// Inputs, targets or weights do not have the shape that the model needs.
  case shape(what: String, expected: [Int], got: [Int])
  /// Loss, targets and outputs do not fit each other.
  case loss(problem: String)
  /// An argument is out of its range.
  case argument(name: String, problem: String)
  /// A label lies outside the classes.
  case label(row: Int, label: Int, classes: Int)
  /// A number that is not finite where only finite ones make sense.
  case notFinite(what: String)
  /// A normalization would take the variance of a single value.
  case singleValue(layer: String)
  /// No normalization has this name.
  case unknownNormalization(String, known: [String])
  /// No parameter has this name.
  case unknownParameter(String, known: [String])

  /// What, where, and what to do.
  public var description: String {
    switch self {
    case .layer(let name, let problem): "layer '\(name)': \(problem)"
    case .duplicateName(let name): "two layers are named '\(name)'; give one of them another name"
    case .notBuilt:
      "the model has no input shape yet; call build(inputShape:) or fit first"
    case .notCompiled: "the model is not compiled; call compile(optimizer:loss:) first"
    case .empty: "the model has no layers; give Sequential at least one"
    case .shape(let what, let expected, let got): "\(what) must have shape \(expected), not \(got)"
    case .loss(let problem): "loss: \(problem)"
    case .argument(let name, let problem): "\(name): \(problem)"
    case .label(let row, let label, let classes):
      "label \(label) in row \(row) is outside 0 ..< \(classes); the last layer must have one unit per class"
    case .notFinite(let what): "\(what) is not finite (NaN or infinity)"
    case .singleValue(let layer):
      "layer '\(layer)': one value per feature has no variance; give it batches of at least 2 rows, or let it normalize "
        + "by its running statistics and not update them"
    case .unknownNormalization(let name, let known):
      "no normalization is named '\(name)'; there are \(known.joined(separator: ", "))"
    case .unknownParameter(let name, let known):
      "no parameter is named '\(name)'; there are \(known.joined(separator: ", "))"
    }
  }
}
