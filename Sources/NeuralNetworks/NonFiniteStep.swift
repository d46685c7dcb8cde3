/// A training step that was undone because a number was not finite: which batch, and where it began.
public struct NonFiniteStep: Error, Sendable, Equatable, Codable, CustomStringConvertible {
  /// Where, in the order of a step, the first number was found that is not finite.
  public enum Place: Sendable, Equatable, Codable {
    /// In the inputs of the batch.
    case inputs
    /// In the targets of the batch.
    case targets
    /// In a parameter as it was before the step, such as `dense_1.kernel`.
    case parameter(String)
    /// In what a layer made of finite inputs by finite parameters.
    case output(layer: String)
    /// In what a running statistic, such as `batch_normalization.moving_variance`, would have become.
    case statistic(String)
    /// In the loss of finite outputs.
    case loss
    /// In the gradient at a layer, the last one of which it is true: gradients are made from the last layer to the first.
    case gradient(layer: String?)
    /// In weights or optimizer state after the update.
    case update
  }

  /// Epoch of the `fit`, from 0.
  public var epoch: Int
  /// Batch of the epoch, from 0.
  public var batch: Int
  /// The rows of the data that are in the batch.
  public var rows: [Int]
  /// Where it began.
  public var place: Place
  /// The loss of the batch, which may be finite.
  public var loss: Double

  /// A step with all that is known of it.
  package init(epoch: Int, batch: Int, rows: [Int], place: Place, loss: Double) {
    self.epoch = epoch
    self.batch = batch
    self.rows = rows
    self.place = place
    self.loss = loss
  }

  /// The first layer that is not finite; nil where it is the data, the loss or the update.
  public var layer: String? {
    switch place {
    case .parameter(let name), .statistic(let name): name.split(separator: ".").dropLast().joined(separator: ".")
    case .output(let layer): layer
    case .gradient(let layer): layer
    case .inputs, .targets, .loss, .update: nil
    }
  }

  /// What, where, and what to do.
  public var description: String {
    let what =
      switch place {
      case .inputs: "the inputs are not finite; look at these rows"
      case .targets: "the targets are not finite; look at these rows"
      case .parameter(let name): "parameter '\(name)' was not finite before the step; load or set it anew"
      case .output(let layer): "the output of layer '\(layer)' is not finite; lower the learning rate or scale the data"
      case .statistic(let name): "'\(name)' would not be finite: the layer's inputs are too large; scale the data"
      case .loss: "the loss is not finite; compute it from logits or look at the targets"
      case .gradient(let layer):
        "the gradient\(layer.map { " at layer '\($0)'" } ?? "") is not finite; lower the learning rate"
      case .update: "the update makes numbers that are not finite; lower the learning rate"
      }
    let shown = rows.prefix(8).map(String.init).joined(separator: ", ") + (rows.count > 8 ? ", …" : "")
    return "step undone, epoch \(epoch), batch \(batch) (\(rows.count) rows: \(shown)): \(what)"
  }
}
