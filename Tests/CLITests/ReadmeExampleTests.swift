import Foundation
import Lamina
import Testing

/// The README's example, run: the test's lines between the marks must be the README's.
@Suite struct ReadmeExampleTests {
  @Test func exampleRunsAndIsTheReadmes() throws {
    // example
    let digits = SyntheticDigits(seed: 0).data(trainCount: 6_000, testCount: 1_000)
    let model = Sequential {
      Dense(128, activation: .relu)
      BatchNormalization()
      Dense(10, activation: .softmax)
    }
    try model.compile(optimizer: Adam(), loss: .sparseCategoricalCrossEntropy())
    try model.fit(Samples(digits.train), epochs: 3)
    print(try model.evaluate(Samples(digits.test)))
    // end
    let evaluation = try model.evaluate(Samples(digits.test))
    #expect(try #require(evaluation.accuracy) > 0.85)

    let source = try String(contentsOfFile: #filePath, encoding: .utf8).components(separatedBy: "\n")
    let first = try #require(source.firstIndex { $0.hasSuffix("// example") })
    let last = try #require(source.firstIndex { $0.hasSuffix("// end") })
    let example = source[(first + 1)..<last].map { $0.dropFirst(4) }.joined(separator: "\n")
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let readme = try String(contentsOf: root.appendingPathComponent("README.md"), encoding: .utf8)
    #expect(readme.contains("import Lamina\n\n" + example))
  }
}
