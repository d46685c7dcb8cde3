import CPUFeatures
import Foundation
import LinearAlgebra
import Synchronization
import Testing

@testable import NeuralNetworks

/// Predictions whose products are shared by columns: to the bit what one thread makes.
@Suite("Shared columns")
struct ColumnSharingTests {
  /// Beside those of every predictor, wide ones: shortcuts, several products in a row, steps that cannot be shared between.
  static let cases =
    PredictorTests.cases + [
      PredictorTests.Case(
        description: "wide", layers: [Dense(200, activation: .relu), BatchNormalization(), Dense(97), Dense(130)],
        inputShape: [65], folded: 1),
      PredictorTests.Case(
        description: "wide with a shortcut and softmax",
        layers: [
          Dense(100, activation: .relu), Residual(layers: [Dense(70, activation: .tanh), Dense(100)]),
          BatchNormalization(),
          Dense(33, activation: .softmax),
        ], inputShape: [40], folded: 1),
      PredictorTests.Case(
        description: "narrow between wide",
        layers: [Dense(96), Activation.gelu, Dense(5), Dense(64), Activation.softmax],
        inputShape: [96], folded: 0),
    ]

  @Test("Bits are those of one thread", arguments: cases)
  func bits(_ example: PredictorTests.Case) throws {
    try checkBits(Float.self, example)
    try checkBits(Double.self, example)
  }

  private func checkBits<Scalar: NetworkScalar>(_: Scalar.Type, _ example: PredictorTests.Case) throws {
    let model: Sequential<Scalar> = try InferenceFixtures.model(example.layers, inputShape: example.inputShape)
    let program = try model.predictor(threads: 1, folding: .never).program
    let block = program.blockSamples
    let count = block * program.inputCount
    let drawn: Tensor<Scalar> = InferenceFixtures.inputs(block, example.inputShape)
    let scalars = UnsafeMutableBufferPointer<Scalar>.allocate(capacity: 2 * count)
    let bytes = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: count)
    defer {
      scalars.deallocate()
      bytes.deallocate()
    }
    for place in 0..<count {
      bytes[place] = UInt8(truncatingIfNeeded: place &* 193 &+ place >> 7)
      scalars[place] = drawn.scalars[place]
      // Every other sample is an image.
      scalars[count + place] = place / program.inputCount % 2 == 0 ? Scalar(bytes[place]) / 255 : drawn.scalars[place]
    }
    let inputs: [BatchSource<Scalar>.Inputs] = [
      .scalars(scalars.baseAddress!), .scalars(scalars.baseAddress! + count),
      .bytes(bytes.baseAddress!, scale: 1.0 / 255, offset: 0), .bytes(bytes.baseAddress!, scale: 0.1, offset: -3),
    ]
    let one = PredictionJob(program: program, members: 1)
    for members in [1, 2, 3, 5] {
      let team = try WorkerTeam(size: members)
      let job = PredictionJob(program: program, members: members, leastSharedProduct: 1)
      for samples in [1, 2, 3, 7, 12, block] where samples <= block {
        for (steps, kind) in [program.stepCount, max(1, program.stepCount - 1)].flatMap({ steps in
          inputs.map { (steps, $0) }
        }) {
          var expected = [Scalar](repeating: .nan, count: samples * program.outputCount)
          var got = expected
          expected.withUnsafeMutableBufferPointer {
            one.runAlone(kind, samples: samples, into: $0.baseAddress!, steps: steps)
          }
          got.withUnsafeMutableBufferPointer {
            job.run(on: team, kind, samples: samples, into: $0.baseAddress!, steps: steps, byColumns: true)
          }
          // Without the last step the output may stay unwritten.
          #expect(
            zip(got, expected).allSatisfy { $0 == $1 || $0.isNaN && $1.isNaN },
            "\(Scalar.self), \(samples) samples, \(members) members, \(steps) steps")
        }
      }
    }
  }

  @Test("Members' columns are all of them, once each", arguments: [33, 64, 65, 100, 127, 128, 130, 1000])
  func partition(width: Int) {
    for members in 1...9 {
      var end = 0
      for member in 0..<members {
        let columns = PredictionJob<Float>.columns(of: member, sharing: width, members: members)
        #expect(columns.lowerBound == end)
        #expect(columns.upperBound % 32 == 0 || columns.upperBound == width)
        end = columns.upperBound
      }
      #expect(end == width)
    }
  }

  @Test("A multiple of the columns that stay together begins a panel")
  func panels() throws {
    for inputs in [1, 7, 784] {
      for columns in [32, 64, 96, 160] {
        #expect(try Float.kernels().products.packedCount(inputs, columns) == inputs * columns)
        #expect(try Double.kernels().products.packedCount(inputs, columns) == inputs * columns)
      }
    }
  }

  @Test("Calls in close succession get the same bits, alone and with others beside them")
  func calls() throws {
    let model: Sequential<Float> = try InferenceFixtures.model(
      [Dense(384, activation: .relu), BatchNormalization(), Dense(200, activation: .relu), Dense(10)],
      inputShape: [256])
    let predictor = try model.predictor(threads: 2)
    let alone = try model.predictor(threads: 1)
    let batches: [Tensor<Float>] = [1, 2, 11].map { InferenceFixtures.inputs($0, [256], seed: UInt64($0)) }
    let expected = try batches.map { try alone.predict($0).scalars }
    let wrong = Atomic<Int>(0)
    @Sendable func run(_ rounds: Int) {
      let outputs = UnsafeMutableBufferPointer<Float>.allocate(capacity: 110)
      defer { outputs.deallocate() }
      for round in 0..<rounds {
        let batch = round / 400 % batches.count
        let part = UnsafeMutableBufferPointer(rebasing: outputs[..<expected[batch].count])
        batches[batch].withUnsafeBufferPointer { try? predictor.predict($0, into: part) }
        if memcmp(part.baseAddress!, expected[batch], 4 * part.count) != 0 { wrong.add(1, ordering: .relaxed) }
      }
    }
    // Long enough for trials, and for what follows them.
    run(6_000)
    DispatchQueue.concurrentPerform(iterations: 3) { _ in run(2_000) }
    run(2_000)
    #expect(wrong.load(ordering: .relaxed) == 0)
  }

  #if os(Linux)
    @Test("A thread leaves its processor, and may go everywhere afterwards")
    func leavesProcessor() async {
      let result = await withCheckedContinuation { continuation in
        Thread {
          let own = lamina_current_processor()
          lamina_leave_processor(1)
          continuation.resume(returning: (own, lamina_current_processor(), lamina_affinity_processors()))
        }.start()
      }
      let (own, now, processors) = result
      #expect(processors == lamina_affinity_processors())
      // The system may send it back, but not at once.
      if processors > 1 { #expect(now != own) }
    }
  #endif
}
