import Datasets
import LinearAlgebra
import NeuralNetworks

/// Inputs, and targets where there are any: what `fit`, `evaluate` and `predict` take.
///
/// Images stay bytes and are scaled as a batch is gathered; tensors are used as they are. Cheap to copy.
public struct Samples<Scalar: NetworkScalar>: Sendable {
  enum Inputs: Sendable {
    case images(ImageDataset, scale: Tensor<Scalar>, offset: Tensor<Scalar>)
    case tensor(Tensor<Scalar>)
  }

  enum Targets: Sendable {
    case none
    case labels([Int32])
    case values(Tensor<Scalar>)
  }

  let inputs: Inputs
  let targets: Targets
  /// A weight for each sample of the whole data set in the moments of batch normalizations.
  private(set) var statisticsWeights: [Double]?
  /// The samples in use: all, or a part after `split`.
  let rows: Range<Int>
  /// Shape of one sample.
  public let inputShape: [Int]

  /// Number of samples.
  public var count: Int { rows.count }

  /// Samples of the whole data set, of which `rows` may be a part.
  var wholeCount: Int {
    switch inputs {
    case .images(let images, _, _): images.count
    case .tensor(let tensor): tensor.shape[0]
    }
  }

  /// Images with their labels.
  ///
  /// - Parameters:
  ///   - images: the data set.
  ///   - scaling: from bytes to numbers; pixels/255 by default.
  ///   - shape: shape of one sample, `[height·width]` by default.
  /// - Throws: `ModelError.shape` where `shape` or the scaling has another number of elements than an image.
  public init(_ images: ImageDataset, scaling: PixelScaling = .unit, shape: [Int]? = nil) throws {
    let pixels = images.height * images.width
    inputShape = shape ?? [pixels]
    guard inputShape.reduce(1, *) == pixels else {
      throw ModelError.shape(what: "one sample", expected: [images.height, images.width], got: inputShape)
    }
    switch scaling {
    case .uniform(let scale, let offset):
      inputs = .images(images, scale: Tensor([scale]), offset: Tensor([offset]))
    case .perFeature(let scale, let offset):
      guard scale.count == pixels, offset.count == pixels else {
        throw ModelError.shape(what: "the scaling", expected: [pixels], got: [scale.count])
      }
      inputs = .images(images, scale: Tensor(scale), offset: Tensor(offset))
    }
    targets = .labels(images.labels)
    rows = 0..<images.count
  }

  /// Rows of numbers with a class for each.
  ///
  /// - Parameters:
  ///   - inputs: first axis: samples.
  ///   - labels: one per sample (or per row of the model's output).
  /// - Throws: `ModelError` where the counts differ or an input is not finite.
  public init(_ inputs: Tensor<Scalar>, labels: [Int]) throws {
    try self.init(inputs, targets: .labels(labels.map { Int32(clamping: $0) }))
    guard inputs.shape[0] > 0, !labels.isEmpty, labels.count % inputs.shape[0] == 0 else {
      throw ModelError.shape(what: "labels", expected: [inputs.shape[0]], got: [labels.count])
    }
  }

  /// Rows of numbers with a row of targets for each.
  ///
  /// - Throws: `ModelError` where the counts differ or a number is not finite.
  public init(_ inputs: Tensor<Scalar>, targets: Tensor<Scalar>) throws {
    try self.init(inputs, targets: .values(targets))
    guard targets.shape[0] == inputs.shape[0] else {
      throw ModelError.shape(
        what: "the first axis of the targets", expected: [inputs.shape[0]], got: [targets.shape[0]])
    }
    try Self.requireFinite(targets, "the targets")
  }

  /// Rows of numbers without targets, to predict from.
  ///
  /// - Throws: `ModelError.notFinite` where an input is not finite.
  public init(_ inputs: Tensor<Scalar>) throws { try self.init(inputs, targets: .none) }

  /// Rows that may hold numbers that are not finite, for tests of what becomes of them.
  init(unchecked inputs: Tensor<Scalar>, targets: Targets) {
    self.inputs = .tensor(inputs)
    self.targets = targets
    rows = 0..<inputs.shape[0]
    inputShape = Array(inputs.shape.dropFirst())
  }

  private init(_ inputs: Tensor<Scalar>, targets: Targets) throws {
    guard inputs.rank >= 2 else {
      throw ModelError.shape(what: "the inputs", expected: [inputs.count, 1], got: inputs.shape)
    }
    try Self.requireFinite(inputs, "the inputs")
    self.init(unchecked: inputs, targets: targets)
  }

  private init(_ whole: Samples, rows: Range<Int>) {
    inputs = whole.inputs
    targets = whole.targets
    inputShape = whole.inputShape
    statisticsWeights = whole.statisticsWeights
    self.rows = rows
  }

  /// The first samples, and the last `validationFraction` of them, as Keras splits them: before any shuffling.
  ///
  /// - Throws: `ModelError.argument` where the fraction is outside 0 ..< 1 or leaves one part empty.
  public func split(validationFraction: Double) throws -> (training: Samples, validation: Samples) {
    let boundary =
      (0..<1).contains(validationFraction) ? Int((Double(count) * (1 - validationFraction)).rounded(.down)) : 0
    guard boundary > 0, boundary < count else {
      throw ModelError.argument(
        name: "validationSplit", problem: "\(validationFraction) of \(count) samples leaves one part empty")
    }
    let middle = rows.lowerBound + boundary
    return (Samples(self, rows: rows.lowerBound..<middle), Samples(self, rows: middle..<rows.upperBound))
  }

  /// The samples at `range`.
  ///
  /// - Precondition: `range` lies in 0 ..< count.
  public subscript(range: Range<Int>) -> Samples {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "\(range) is outside 0 ..< \(count)")
    return Samples(self, rows: rows.lowerBound + range.lowerBound..<rows.lowerBound + range.upperBound)
  }

  /// The same samples with a weight for each in the statistics of batch normalizations; 0 and 1 are Keras's mask.
  ///
  /// In training a batch's mean is Σwx/Σw and its variance Σw(x − μ)²/Σw, over all values of a sample alike; every sample
  /// is normalized by them, and the loss does not change. A batch with fewer than two samples of a weight above 0 is
  /// normalized as in inference and leaves the running statistics alone. Costs a scalar loop over each normalized matrix.
  /// - Throws: `ModelError` where there is not one weight per sample, or one is negative or not finite.
  public func weightingStatistics(by weights: [Double]) throws -> Samples {
    guard weights.count == count else {
      throw ModelError.shape(what: "weights", expected: [count], got: [weights.count])
    }
    guard weights.allSatisfy({ $0 >= 0 && $0.isFinite }) else {
      throw ModelError.argument(name: "weights", problem: "must be at least 0 and finite")
    }
    var result = self
    var all = [Double](repeating: 1, count: wholeCount)
    all.replaceSubrange(rows, with: weights)
    result.statisticsWeights = all
    return result
  }

  private static func requireFinite(_ tensor: Tensor<Scalar>, _ what: String) throws {
    let kernels = try Scalar.kernels()
    let finite = tensor.withUnsafeBufferPointer { kernels.reductions.allFinite($0.baseAddress!, $0.count) }
    if !finite { throw ModelError.notFinite(what: what) }
  }

  /// Calls `body` with the memory that a plan gathers from; row numbers are those of the whole data set.
  func withSource<Result>(_ body: (BatchSource<Scalar>) throws -> Result) rethrows -> Result {
    try withInputs { inputs in
      guard let statisticsWeights else { return try withTargets(inputs, nil, body) }
      return try statisticsWeights.withUnsafeBufferPointer { try withTargets(inputs, $0.baseAddress, body) }
    }
  }

  private func withTargets<Result>(
    _ inputs: BatchSource<Scalar>.Inputs, _ weights: UnsafePointer<Double>?,
    _ body: (BatchSource<Scalar>) throws -> Result
  ) rethrows -> Result {
    switch targets {
    case .none: return try body(BatchSource(inputs: inputs, targets: .none, statisticsWeights: weights))
    case .labels(let labels):
      return try labels.withUnsafeBufferPointer {
        try body(BatchSource(inputs: inputs, targets: .labels($0.baseAddress!), statisticsWeights: weights))
      }
    case .values(let values):
      return try values.withUnsafeBufferPointer {
        try body(BatchSource(inputs: inputs, targets: .values($0.baseAddress!), statisticsWeights: weights))
      }
    }
  }

  private func withInputs<Result>(_ body: (BatchSource<Scalar>.Inputs) throws -> Result) rethrows -> Result {
    switch inputs {
    case .tensor(let tensor):
      return try tensor.withUnsafeBufferPointer { try body(.scalars($0.baseAddress!)) }
    case .images(let images, let scale, let offset):
      return try images.withUnsafePixels { pixels in
        try scale.withUnsafeBufferPointer { scale in
          try offset.withUnsafeBufferPointer { offset in
            let bytes = pixels.baseAddress!
            return try body(
              scale.count == 1
                ? .bytes(bytes, scale: Double(scale[0]), offset: Double(offset[0]))
                : .bytesByColumn(bytes, scale: scale.baseAddress!, offset: offset.baseAddress!))
          }
        }
      }
    }
  }
}

extension Tensor {
  /// A vector of the given numbers, rounded to the tensor's precision.
  fileprivate init(_ values: [Double]) {
    self.init(shape: [values.count]) { Scalar(values[$0]) }
  }
}
