/// A team outside of a plan: measures on all its threads at once.
package final class MeasurementTeam {
  private let team: WorkerTeam

  /// A team of `size` members, the caller included.
  ///
  /// - Throws: `ModelError` where the system refuses a thread.
  package init(size: Int) throws { team = try WorkerTeam(size: size) }

  /// Does `work` on every member at the same time, given its number, and returns when all have finished.
  package func run(_ work: @escaping @Sendable (Int) -> Void) { team.run(ClosureJob(work)) }

  private final class ClosureJob: TeamJob {
    private let body: @Sendable (Int) -> Void
    init(_ body: @escaping @Sendable (Int) -> Void) { self.body = body }
    func work(member: Int) { body(member) }
  }
}
