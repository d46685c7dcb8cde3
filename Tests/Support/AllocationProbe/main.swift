import AllocationCounter
import Foundation
import LinearAlgebra
import NeuralNetworks
import Training

/// Prints, as one JSON object, how many heap allocations training steps and predictors make, and by how many more `fit`, `predict` and
/// `evaluate` make for fifty batches than for five. With `--require-none` it fails where a number is not 0.
///
/// A program of its own because the count is the whole process's: tests that run beside it would be counted too.

/// A model with every kind of stage that is computed by tiles, and samples for it.
func makeModel<Scalar: NetworkScalar>(
  _: Scalar.Type, threads: Int, optimizer: any Optimizer
) throws -> Sequential<Scalar> {
  let model = Sequential<Scalar>(layers: [
    Dense(260, activation: .relu), Dense(514, activation: .relu), BatchNormalization(), Dropout(0.25), Dense(270),
    Dense(70, useBias: false),
    BatchNormalization(), Activation.gelu,
    Residual(activation: .relu) {
      Dense(50, useBias: false)
      BatchNormalization()
      Residual(activation: .relu) { Dense(50) }
      Dense(70, useBias: false)
      BatchNormalization(virtualBatchSize: 8)
    },
    Residual {
      BatchNormalization()
      Dense(70)
      BatchNormalization()
    },
    Dense(10, activation: .softmax),
  ])
  try model.compile(optimizer: optimizer, loss: .sparseCategoricalCrossEntropy(), threads: threads)
  return model
}

func makeSamples<Scalar: NetworkScalar>(_: Scalar.Type, count: Int) throws -> Samples<Scalar> {
  let inputs = Tensor<Scalar>(shape: [count, 130]) { Scalar(($0 * 37) % 101) / 101 - Scalar(0.5) }
  return try Samples(inputs, labels: (0..<count).map { ($0 * 7) % 10 })
}

/// Allocations of the process, OpenBLAS's included, while `body` runs.
func allocations(_ body: () throws -> Void) rethrows -> Int {
  let before = allocation_count()
  try body()
  return allocation_count() - before
}

/// Allocations of twenty steps, and of some predictions and evaluations, after a first step.
func stepAllocations<Scalar: NetworkScalar>(
  _: Scalar.Type, threads: Int, optimizer: any Optimizer
) throws -> Int {
  let model = try makeModel(Scalar.self, threads: threads, optimizer: optimizer)
  let columns = 130
  try model.build(inputShape: [columns])
  let plan = try model.plan(samples: 200)
  // Samples that differ: what is 0 in all of them is left out of products.
  let inputs = (0..<240 * columns).map { Scalar(($0 * 37) % 101) / 101 - Scalar(0.5) }
  let labels = [Int32](repeating: 3, count: 240)
  let indices = (0..<240).map { Int32($0) }
  let rule = optimizer.updateRule
  return inputs.withUnsafeBufferPointer { inputs in
    labels.withUnsafeBufferPointer { labels in
      indices.withUnsafeBufferPointer { indices in
        let source = BatchSource<Scalar>(inputs: .scalars(inputs.baseAddress!), targets: .labels(labels.baseAddress!))
        var loss = plan.train(source, indices: indices.baseAddress!, samples: 200, rule: rule, step: 1).loss
        return allocations {
          for step in 2..<22 {
            // Ragged last batches too.
            let samples = step % 4 == 0 ? 7 : 200
            loss += plan.train(source, indices: indices.baseAddress!, samples: samples, rule: rule, step: step).loss
            if step % 5 == 0 {
              plan.infer(source, indices: indices.baseAddress!, samples: samples)
              loss += plan.evaluate(source, indices: indices.baseAddress!, samples: samples).loss
            }
          }
        }
      }
    }
  }
}

/// By how much more often 50 batches allocate than 5 do.
func growth<Scalar: NetworkScalar>(
  _: Scalar.Type, threads: Int, _ body: (Sequential<Scalar>, Samples<Scalar>) throws -> Void
) throws -> Int {
  let model = try makeModel(Scalar.self, threads: threads, optimizer: Adam())
  let few = try makeSamples(Scalar.self, count: 5 * 16 - 3)
  let many = try makeSamples(Scalar.self, count: 50 * 16 - 3)
  try body(model, many)
  let first = try allocations { try body(model, few) }
  return try allocations { try body(model, many) } - first
}

/// Allocations of calls of a predictor after the first.
func predictorAllocations<Scalar: NetworkScalar>(_: Scalar.Type, threads: Int) throws -> Int {
  let model = try makeModel(Scalar.self, threads: threads, optimizer: Adam())
  try model.build(inputShape: [130])
  let predictor = try model.predictor(threads: threads)
  let most = 400
  let inputs = [Scalar](repeating: Scalar(0.25), count: most * predictor.inputCount)
  let bytes = [UInt8](repeating: 77, count: inputs.count)
  var outputs = [Scalar](repeating: 0, count: most * predictor.outputCount)
  return try inputs.withUnsafeBufferPointer { inputs in
    try bytes.withUnsafeBufferPointer { bytes in
      try outputs.withUnsafeMutableBufferPointer { outputs in
        func call(_ samples: Int) throws {
          let results = UnsafeMutableBufferPointer(rebasing: outputs[..<(samples * predictor.outputCount)])
          let count = samples * predictor.inputCount
          try predictor.predict(UnsafeBufferPointer(rebasing: inputs[..<count]), into: results)
          try predictor.predict(UnsafeBufferPointer(rebasing: bytes[..<count]), into: results)
        }
        try call(most)
        return try allocations { for samples in [1, 2, 7, 33, most, 1, 200] { try call(samples) } }
      }
    }
  }
}

func report<Scalar: NetworkScalar>(_: Scalar.Type, into results: inout [String: Int]) throws {
  for threads in [1, 2, 3] {
    let suffix = "\(Scalar.precisionName) \(threads)"
    results["step adam \(suffix)"] = try stepAllocations(Scalar.self, threads: threads, optimizer: Adam())
    let nesterov = SGD(momentum: 0.9, nesterov: true)
    results["step sgd \(suffix)"] = try stepAllocations(Scalar.self, threads: threads, optimizer: nesterov)
    let centered = RMSprop(momentum: 0.9, centered: true)
    results["step rmsprop \(suffix)"] = try stepAllocations(Scalar.self, threads: threads, optimizer: centered)
    results["predictor \(suffix)"] = try predictorAllocations(Scalar.self, threads: threads)
    results["fit \(suffix)"] = try growth(Scalar.self, threads: threads) { model, samples in
      try model.fit(samples, batchSize: 16, verbose: .silent)
    }
    results["predict \(suffix)"] = try growth(Scalar.self, threads: threads) { model, samples in
      _ = try model.predict(samples, batchSize: 16)
    }
    results["evaluate \(suffix)"] = try growth(Scalar.self, threads: threads) { model, samples in
      _ = try model.evaluate(samples, batchSize: 16)
    }
  }
}

var results = ["counter works": Int(allocation_counter_works())]
try report(Float.self, into: &results)
try report(Double.self, into: &results)
let encoder = JSONEncoder()
encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
print(String(decoding: try encoder.encode(results), as: UTF8.self))
if CommandLine.arguments.contains("--require-none") {
  let allocating = results.filter { $0.key != "counter works" && $0.value != 0 }.keys.sorted()
  if results["counter works"] != 1 || !allocating.isEmpty {
    FileHandle.standardError.write(Data("allocations where none are allowed, or not counted: \(allocating)\n".utf8))
    exit(1)
  }
}
