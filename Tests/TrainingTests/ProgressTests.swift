import Foundation
import Testing

@testable import Training

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// What `fit` writes: lines in a pipe, a bar on a terminal, nothing when silent.
@Suite("Progress")
struct ProgressTests {
  private static let records = [
    EpochRecord(
      epoch: 0, training: Evaluation(loss: 1.25, accuracy: 0.5), validation: nil, seconds: 0.5, samplesPerSecond: 4321),
    EpochRecord(
      epoch: 1, training: Evaluation(loss: 0.5, accuracy: nil), validation: Evaluation(loss: 0.75, accuracy: 0.875),
      seconds: 2, samplesPerSecond: 123_456),
  ]

  /// Reports two epochs of a hundred samples to `descriptor`.
  private func report(_ verbosity: Verbosity, to descriptor: Int32) {
    var reporter = ProgressReporter(verbosity, descriptor: descriptor, epochs: 2)
    for record in Self.records {
      let started = ContinuousClock.now - .seconds(2)
      reporter.update(epoch: record.epoch, done: 25, of: 100, started: started) { record.training }
      // A second update right after the first is not drawn.
      reporter.update(epoch: record.epoch, done: 26, of: 100, started: started) { record.training }
      reporter.finish(record)
    }
  }

  private func textInPipe(_ verbosity: Verbosity) throws -> String {
    let pipe = Pipe()
    report(verbosity, to: pipe.fileHandleForWriting.fileDescriptor)
    try pipe.fileHandleForWriting.close()
    return String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  }

  @Test("In a pipe: one line per epoch, no control characters", arguments: [Verbosity.auto, .epochs])
  func pipe(verbosity: Verbosity) throws {
    let text = try textInPipe(verbosity)
    #expect(
      text == """
        Epoch 1/2 0.50 s, 4321 samples/s, loss 1.2500, accuracy 0.5000
        Epoch 2/2 2.00 s, 123k samples/s, loss 0.5000, validation loss 0.7500, validation accuracy 0.8750

        """)
    #expect(text.unicodeScalars.allSatisfy { $0 == "\n" || $0.value >= 32 })
  }

  @Test("Silent: nothing")
  func silent() throws { #expect(try textInPipe(.silent).isEmpty) }

  @Test("A pipe that nobody reads does not end the training")
  func closedPipe() throws {
    // The signal that ends a program by default.
    let previous = signal(SIGPIPE, SIG_DFL)
    defer { signal(SIGPIPE, previous) }
    let pipe = Pipe()
    try pipe.fileHandleForReading.close()
    report(.epochs, to: pipe.fileHandleForWriting.fileDescriptor)
  }

  @Test("On a terminal: a bar with rate and time left, replaced by the epoch's line")
  func terminal() throws {
    var (controller, terminal): (Int32, Int32) = (-1, -1)
    try #require(openpty(&controller, &terminal, nil, nil, nil) == 0 && isatty(terminal) == 1)
    defer {
      close(terminal)
      close(controller)
    }
    report(.auto, to: terminal)
    var bytes = [UInt8](repeating: 0, count: 4096)
    var text = ""
    while !text.contains("validation accuracy 0.8750") {
      let count = read(controller, &bytes, bytes.count)
      guard count > 0 else { break }
      text += String(decoding: bytes[..<count], as: UTF8.self)
    }
    #expect(text.contains("\r\u{1B}[KEpoch 1/2 ━━━━━─────────────── 25/100"))
    #expect(text.contains("samples/s ETA 0:06") || text.contains("samples/s ETA 0:07"))
    #expect(text.contains("\r\u{1B}[KEpoch 1/2 0.50 s"))
    #expect(!text.contains("26/100"))
  }
}
