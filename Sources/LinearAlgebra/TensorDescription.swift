extension Tensor: CustomStringConvertible {
  /// The shape and the elements, nested as the axes are; the middle of an axis longer than 8 is left out.
  public var description: String {
    "Tensor<\(Scalar.self)>\(shape) " + describe(axis: 0, offset: 0)
  }

  private func describe(axis: Int, offset: Int) -> String {
    let (shown, length) = (3, shape[axis])
    let elided = length > 8
    let inner = shape[(axis + 1)...].reduce(1, *)
    let isLast = axis == rank - 1
    let indices = elided ? Array(0..<shown) + Array(length - shown..<length) : Array(0..<length)
    var parts = indices.map { index in
      let start = offset + index * inner
      return isLast ? "\(buffer.baseAddress[start])" : describe(axis: axis + 1, offset: start)
    }
    if elided { parts.insert("…", at: shown) }
    let separator = isLast ? ", " : ",\n" + String(repeating: " ", count: axis + 1)
    return "[" + parts.joined(separator: separator) + "]"
  }
}
