extension IDX {
  /// The first `count` entries along the first dimension, or all where there are fewer.
  public func prefix(_ count: Int) throws(DatasetError) -> IDX {
    let kept = max(0, min(count, dimensions[0]))
    let size = dimensions.dropFirst().reduce(1, *)
    return try IDX(dimensions: [kept] + dimensions.dropFirst(), bytes: Array(bytes[0..<kept * size]))
  }
}
