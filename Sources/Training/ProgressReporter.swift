import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// How much `fit` says while it works.
public enum Verbosity: Sendable, Equatable {
  /// A moving bar on a terminal, one line per epoch elsewhere.
  case auto
  /// One line per epoch.
  case epochs
  /// Nothing.
  case silent
}

/// Where progress is written.
public enum ProgressOutput: Sendable {
  /// Standard output.
  case standardOutput
  /// Standard error, for programs whose output is read by others.
  case standardError

  var descriptor: Int32 { self == .standardOutput ? STDOUT_FILENO : STDERR_FILENO }
}

/// Writes the progress of `fit`: on a terminal a bar with rate and time left, redrawn at most ten times a second.
struct ProgressReporter {
  private let descriptor: Int32
  private let drawsBar: Bool
  private let isSilent: Bool
  private let epochs: Int
  private var lastDrawn: ContinuousClock.Instant?

  private static let width = 20

  init(_ verbosity: Verbosity, descriptor: Int32, epochs: Int) {
    self.descriptor = descriptor
    isSilent = verbosity == .silent
    drawsBar = verbosity == .auto && isatty(descriptor) == 1
    self.epochs = epochs
  }

  /// Called after each batch.
  mutating func update(
    epoch: Int, done: Int, of total: Int, started: ContinuousClock.Instant, training: () -> Evaluation
  ) {
    guard drawsBar else { return }
    let now = ContinuousClock.now
    if let lastDrawn, now - lastDrawn < .milliseconds(100) { return }
    lastDrawn = now
    let seconds = (now - started).inSeconds
    let rate = Double(done) / max(seconds, 1e-9)
    let filled = done * Self.width / max(total, 1)
    let bar = String(repeating: "━", count: filled) + String(repeating: "─", count: Self.width - filled)
    let remaining = Self.clock(Double(total - done) / max(rate, 1e-9))
    write(
      "\r\u{1B}[K\(title(epoch)) \(bar) \(done)/\(total) \(Self.rate(rate)) ETA \(remaining)\(Self.text(training()))")
  }

  /// Called after each epoch and its validation.
  func finish(_ record: EpochRecord) {
    guard !isSilent else { return }
    var line = title(record.epoch)
    line += String(format: " %.2f s, %@", record.seconds, Self.rate(record.samplesPerSecond))
    line += Self.text(record.training)
    if let validation = record.validation { line += Self.text(validation, prefix: "validation ") }
    write((drawsBar ? "\r\u{1B}[K" : "") + line + "\n")
  }

  private func title(_ epoch: Int) -> String { "Epoch \(epoch + 1)/\(epochs)" }

  private static func text(_ evaluation: Evaluation, prefix: String = "") -> String {
    let accuracy = evaluation.accuracy.map { String(format: ", %@accuracy %.4f", prefix, $0) } ?? ""
    return String(format: ", %@loss %.4f", prefix, evaluation.loss) + accuracy
  }

  private static func rate(_ samplesPerSecond: Double) -> String {
    samplesPerSecond >= 10_000
      ? String(format: "%.0fk samples/s", samplesPerSecond / 1000) : String(format: "%.0f samples/s", samplesPerSecond)
  }

  private static func clock(_ seconds: Double) -> String {
    let whole = Int(min(max(seconds, 0), 359_999).rounded(.up))
    return whole >= 3600
      ? String(format: "%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60)
      : String(format: "%d:%02d", whole / 60, whole % 60)
  }

  private func write(_ text: String) {
    // A closed pipe must not end the training: its signal is held back and taken, the failed write is dropped.
    var pipeSignal = sigset_t()
    var previous = sigset_t()
    sigemptyset(&pipeSignal)
    sigaddset(&pipeSignal, SIGPIPE)
    pthread_sigmask(SIG_BLOCK, &pipeSignal, &previous)
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      #if canImport(Glibc)
        let written = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      #else
        let written = bytes.withUnsafeBytes { Darwin.write(descriptor, $0.baseAddress, $0.count) }
      #endif
      if written <= 0 { break }
      bytes = bytes.dropFirst(written)
    }
    var pending = sigset_t()
    if !bytes.isEmpty, sigpending(&pending) == 0, sigismember(&pending, SIGPIPE) == 1 {
      var signal: Int32 = 0
      sigwait(&pipeSignal, &signal)
    }
    pthread_sigmask(SIG_SETMASK, &previous, nil)
  }
}

extension Duration {
  /// The duration in seconds.
  var inSeconds: Double {
    let (seconds, attoseconds) = components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }
}
