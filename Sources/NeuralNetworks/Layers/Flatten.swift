/// Makes one axis of all axes of a sample: (batch, a, b, …) becomes (batch, a·b·…).
///
/// Costs nothing: the same memory is read as longer rows.
public struct Flatten: Layer, Equatable, Codable {
  /// The layer's name, or nil for `flatten`, `flatten_1`, ….
  public var name: String?

  /// The layer.
  public init(name: String? = nil) { self.name = name }

  /// The word from which names are made.
  public var kind: String { "flatten" }

  /// Changes the shape.
  public func lower(into builder: inout NetworkBuilder) throws { builder.flatten() }
}
