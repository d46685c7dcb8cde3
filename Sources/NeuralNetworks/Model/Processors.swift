import CPUFeatures
import Foundation

/// Processors that this process may run on: its affinity, and no more than the cgroup's CPU quota pays for.
public func availableProcessors() -> Int {
  max(1, min(affinityProcessors(), cgroupQuota().map { Int($0.rounded(.up)) } ?? .max))
}

/// Processors in the process's affinity mask.
public func affinityProcessors() -> Int {
  let count = Int(lamina_affinity_processors())
  return count > 0 ? count : ProcessInfo.processInfo.activeProcessorCount
}

/// Processors' worth of time that the control group may use, or nil where it is not limited.
///
/// Reads version 2 (`cpu.max`) and version 1 (`cpu.cfs_quota_us`) where they are usually mounted.
public func cgroupQuota() -> Double? {
  func words(_ path: String) -> [String]? {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
    return text.split(whereSeparator: \.isWhitespace).map(String.init)
  }
  if let line = words("/sys/fs/cgroup/cpu.max"), line.count == 2, let quota = Double(line[0]),
    let period = Double(line[1]), period > 0
  {
    return quota / period
  }
  let folder = "/sys/fs/cgroup/cpu/"
  if let quota = words(folder + "cpu.cfs_quota_us")?.first.flatMap(Double.init), quota > 0,
    let period = words(folder + "cpu.cfs_period_us")?.first.flatMap(Double.init), period > 0
  {
    return quota / period
  }
  return nil
}
