/// Inverted dropout: each element is 0 with probability `rate`, else divided by 1 − rate.
///
/// From Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov 2014. Identity during inference. The mask is a function of the model's seed, the layer, the step and the element's place, so
/// a run can be repeated to the bit on any number of threads; it is drawn again in the backward pass, not stored.
public struct Dropout: Layer, Equatable, Codable {
  /// Share of elements dropped, 0 ≤ rate < 1.
  public var rate: Double
  /// The layer's name, or nil for `dropout`, `dropout_1`, ….
  public var name: String?

  /// A layer that drops `rate` of its inputs.
  public init(_ rate: Double, name: String? = nil) {
    self.rate = rate
    self.name = name
  }

  /// The word from which names are made.
  public var kind: String { "dropout" }

  /// Adds the mask.
  ///
  /// - Throws: `ModelError.layer` where `rate` is outside 0 ..< 1.
  public func lower(into builder: inout NetworkBuilder) throws { try builder.dropout(rate: rate) }
}
