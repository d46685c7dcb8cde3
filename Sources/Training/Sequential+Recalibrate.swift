import Foundation
import LinearAlgebra
import NeuralNetworks

/// How far the moving statistics of one batch normalization were from the population's.
public struct RecalibratedLayer: Sendable, Equatable, Codable {
  /// Name of the layer.
  public var name: String
  /// Root mean square over the features of (moving mean − mean)/√(variance + ε).
  public var meanError: Double
  /// The largest of them in size.
  public var largestMeanError: Double
  /// Geometric mean over the features of max(r, 1/r), r = (moving variance + ε)/(variance + ε); 1 where they agree.
  public var varianceRatio: Double
  /// The largest of them.
  public var largestVarianceRatio: Double

  init(_ site: NormalizationSite, mean: [Double], variance: [Double], population: PopulationStatistics) {
    name = site.name
    var squares = 0.0
    var logarithms = 0.0
    largestMeanError = 0
    largestVarianceRatio = 1
    for feature in 0..<site.features {
      let trueVariance = population.variance[feature] + site.epsilon
      // No spread at all and ε 0: any distance is infinitely far.
      let difference = abs(mean[feature] - population.mean[feature])
      let error = difference == 0 ? 0 : difference / trueVariance.squareRoot()
      let movingVariance = variance[feature] + site.epsilon
      let ratio = movingVariance == trueVariance ? 1 : exp(abs(log(movingVariance / trueVariance)))
      squares += error * error
      logarithms += log(ratio)
      // A moving statistic that is not a number is as far as can be.
      largestMeanError = error.isNaN ? .infinity : max(largestMeanError, error)
      largestVarianceRatio = ratio.isNaN ? .infinity : max(largestVarianceRatio, ratio)
    }
    let count = Double(site.features)
    meanError = largestMeanError == .infinity ? .infinity : (squares / count).squareRoot()
    varianceRatio = largestVarianceRatio == .infinity ? .infinity : exp(logarithms / count)
  }
}

/// What `recalibrate(on:)` found, layer by layer.
public struct Recalibration: Sendable, Equatable, Codable {
  /// One entry per batch normalization, in the order of the layers.
  public var layers: [RecalibratedLayer]
  /// Samples that the statistics are of.
  public var samples: Int
}

extension Sequential {
  /// Replaces the moving statistics of every batch normalization by those of a data set.
  ///
  /// Algorithm 2 of Ioffe and Szegedy 2015: in one pass over random batches of size m, E[x] = E_B[μ_B] and
  /// Var[x] = m/(m − 1)·E_B[σ²_B], each layer fed by layers that normalize with their batch. Dropout is off: the
  /// statistics are those that inference meets. Weights, the optimizer's state and the random state stay as they are.
  /// Worth doing where the moving averages lag (few steps, a momentum near 1, weights averaged or loaded) or the data
  /// changed. Cost: a forward pass over the data.
  ///
  /// - Parameters:
  ///   - data: inputs like those to come; targets are not looked at.
  ///   - batchSize: samples per batch, 32 by default; best as in training.
  /// - Returns: how far the moving averages were, layer by layer; no layers where the model has no batch normalization.
  /// - Throws: `ModelError` where data and model do not fit, the data or a batch have a single number for a feature, or a
  ///   statistic is not finite; the moving statistics are then as before.
  @discardableResult
  public func recalibrate(on data: Samples<Scalar>, batchSize: Int = 32) throws -> Recalibration {
    try build(inputShape: data.inputShape)
    try check(data, needsTargets: false)
    let sites = normalizationSites.filter(\.tracks)
    let populations = try populationStatistics(of: sites, on: data, batchSize: batchSize)
    for (site, population) in zip(sites, populations)
    where !(population.mean + population.variance).allSatisfy({ Scalar($0).isFinite }) {
      throw ModelError.notFinite(what: "a statistic of layer '\(site.name)' over these data")
    }
    var result: [RecalibratedLayer] = []
    for (site, population) in zip(sites, populations) {
      let moving = try movingStatistics(of: site)
      result.append(RecalibratedLayer(site, mean: moving.mean, variance: moving.variance, population: population))
    }
    for (site, population) in zip(sites, populations) { try setMovingStatistics(of: site, to: population) }
    return Recalibration(layers: result, samples: data.count)
  }

  /// Moving mean and variance of a batch normalization.
  func movingStatistics(of site: NormalizationSite) throws -> (mean: [Double], variance: [Double]) {
    (
      try parameter("\(site.name).moving_mean").scalars.map { Double($0) },
      try parameter("\(site.name).moving_variance").scalars.map { Double($0) }
    )
  }

  func setMovingStatistics(of site: NormalizationSite, to population: PopulationStatistics) throws {
    try setParameter(
      "\(site.name).moving_mean", to: Tensor(shape: [site.features], scalars: population.mean.map { Scalar($0) }))
    // Renormalization keeps the deviation that its variance is the square of.
    if parameters.contains(where: { $0.name == "\(site.name).moving_stddev" }) {
      let deviations = population.variance.map { Scalar(($0 + site.epsilon).squareRoot()) }
      try setParameter("\(site.name).moving_stddev", to: Tensor(shape: [site.features], scalars: deviations))
    }
    try setParameter(
      "\(site.name).moving_variance",
      to: Tensor(shape: [site.features], scalars: population.variance.map { Scalar($0) }))
  }
}
