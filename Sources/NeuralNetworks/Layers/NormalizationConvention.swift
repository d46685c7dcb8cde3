extension BatchNormalization {
  /// How the running statistics follow those of the batches, with the number's meaning in its name.
  ///
  /// The same number means opposite things in Keras (weight of the old value) and PyTorch (weight of the new one).
  public enum Momentum: Sendable, Equatable {
    /// `running = w·running + (1 − w)·batch`: Keras's momentum, 0.99 there.
    case weightOfOld(Double)
    /// `running = (1 − w)·running + w·batch`: PyTorch's momentum, 0.1 there.
    case weightOfNew(Double)
    /// `running = (k·running + batch)/(k + 1)` after k batches: the mean over all batches since training began.
    ///
    /// Over a network that no longer changes it is the population estimate of the paper's algorithm 2. The number of
    /// batches is the parameter `batch_count`, saved with the model. In Float it is exact to 16,777,216 batches; from
    /// there on the average weighs each new batch by 2⁻²⁴.
    case cumulativeAverage

    /// Weight of the old value, or nil for a cumulative average, whose weight changes with every batch.
    public var weightOfOld: Double? {
      switch self {
      case .weightOfOld(let weight): weight
      case .weightOfNew(let weight): 1 - weight
      case .cumulativeAverage: nil
      }
    }
  }

  /// Which variance of a batch of n values the running variance follows.
  public enum RunningVariance: String, Sendable, Equatable, Codable {
    /// Σ(x − μ)²/n: Keras, TensorFlow, Flax, ONNX.
    case biased
    /// Σ(x − μ)²/(n − 1): PyTorch, the paper.
    case unbiased
  }

  /// A system's choice of epsilon, momentum and running variance: three differences, each of which can be set alone.
  public enum Convention: Sendable, Equatable, CaseIterable {
    /// ε 1e-3, weight of the old value 0.99, biased (Keras 3, TensorFlow).
    case keras
    /// ε 1e-5, weight of the new value 0.1, unbiased (PyTorch 2).
    case pytorch
    /// ε 1e-5, the mean over all batches, unbiased: m/(m − 1)·E[σ²] (Ioffe and Szegedy 2015, algorithm 2).
    ///
    /// The paper states no ε.
    case paper

    /// Its rule for the running statistics.
    public var momentum: Momentum {
      switch self {
      case .keras: .weightOfOld(0.99)
      case .pytorch: .weightOfNew(0.1)
      case .paper: .cumulativeAverage
      }
    }

    /// Its ε.
    public var epsilon: Double { self == .keras ? 1e-3 : 1e-5 }

    /// Its running variance.
    public var runningVariance: RunningVariance { self == .keras ? .biased : .unbiased }
  }

  /// The layer that does in `convention`'s words what this one does.
  ///
  /// The momentum is written by the convention's rule with the same effect (`.weightOfOld(0.99)` becomes
  /// `.weightOfNew(0.01)` up to rounding), ε keeps its value, which means the same everywhere, and the running variance
  /// becomes the convention's. The stored variances change with that: see `Sequential.converted(to:batchSize:)`.
  /// - Throws: `ModelError.layer` where the convention has no such rule: Keras no cumulative average, the paper nothing
  ///   else. PyTorch has both.
  public func converted(to convention: Convention) throws -> BatchNormalization {
    var result = self
    result.runningVariance = convention.runningVariance
    switch (convention, momentum) {
    case (.keras, .weightOfNew(let weight)): result.momentum = .weightOfOld(1 - weight)
    case (.pytorch, .weightOfOld(let weight)): result.momentum = .weightOfNew(1 - weight)
    case (.keras, .cumulativeAverage):
      throw ModelError.layer(
        name: name ?? kind, problem: "Keras has no cumulative average; set momentum to .weightOfOld(_) first")
    case (.paper, .weightOfOld), (.paper, .weightOfNew):
      throw ModelError.layer(
        name: name ?? kind,
        problem: "the paper's running statistics are means over all batches; set momentum to .cumulativeAverage first")
    default: break
    }
    return result
  }
}

extension BatchNormalization.Momentum: Codable {
  private enum Key: String, CodingKey { case weightOfOld, weightOfNew }

  /// A rule from a file; a plain number, as version 0.1 wrote it, is the weight of the old value.
  public init(from decoder: any Decoder) throws {
    if let number = try? decoder.singleValueContainer().decode(Double.self) {
      self = .weightOfOld(number)
      return
    }
    if let word = try? decoder.singleValueContainer().decode(String.self) {
      guard word == "cumulativeAverage" else {
        throw DecodingError.dataCorrupted(
          .init(codingPath: decoder.codingPath, debugDescription: "no momentum is called \(word)"))
      }
      self = .cumulativeAverage
      return
    }
    let values = try decoder.container(keyedBy: Key.self)
    if let weight = try values.decodeIfPresent(Double.self, forKey: .weightOfNew) {
      self = .weightOfNew(weight)
    } else {
      self = .weightOfOld(try values.decode(Double.self, forKey: .weightOfOld))
    }
  }

  /// `{"weightOfOld": w}`, `{"weightOfNew": w}` or `"cumulativeAverage"`.
  public func encode(to encoder: any Encoder) throws {
    switch self {
    case .weightOfOld(let weight):
      var values = encoder.container(keyedBy: Key.self)
      try values.encode(weight, forKey: .weightOfOld)
    case .weightOfNew(let weight):
      var values = encoder.container(keyedBy: Key.self)
      try values.encode(weight, forKey: .weightOfNew)
    case .cumulativeAverage:
      var value = encoder.singleValueContainer()
      try value.encode("cumulativeAverage")
    }
  }
}
