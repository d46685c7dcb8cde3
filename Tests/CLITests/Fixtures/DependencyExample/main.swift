// A program of another package: two classes of points, told apart by the side of a curve on which they lie.
import Lamina

let count = 256
let points = Tensor<Float>(shape: [count, 2]) { index in Float((index * 37) % 101) / 50 - 1 }
let labels = (0..<count).map { row in
  let (x, y) = (points.scalars[2 * row], points.scalars[2 * row + 1])
  return y > x * x - 0.5 ? 1 : 0
}

let model = Sequential(seed: 1) {
  Dense(16, activation: .relu)
  BatchNormalization()
  Dense(2, activation: .softmax)
}
try model.compile(optimizer: Adam(learningRate: 0.01), loss: .sparseCategoricalCrossEntropy())
let history = try model.fit(Samples(points, labels: labels), epochs: 20, verbose: .silent)
guard let first = history.loss.first, let last = history.loss.last, last < 0.5 * first else {
  fatalError("the loss went from \(history.loss.first ?? .nan) to \(history.loss.last ?? .nan)")
}
print("loss fell from \(first) to \(last)")
