import Training

/// How far the distribution of one number moved in the course of a training.
///
/// The root mean square distance of each percentile from its own mean over the run, averaged over the three: 0 for a
/// distribution that stands still, in the unit of the number itself.
public func drift(of track: [Percentiles]) -> Double {
  func deviation(_ values: [Double]) -> Double {
    guard !values.isEmpty else { return 0 }
    let mean = values.reduce(0, +) / Double(values.count)
    return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)).squareRoot()
  }
  return [\Percentiles.low, \.middle, \.high].reduce(0) { sum, path in
    sum + deviation(track.map { $0[keyPath: path] })
  } / 3
}
