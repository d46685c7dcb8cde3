import CPUFeatures
import LinearAlgebra

/// A block of a few samples, shared by columns: each member reads its part of a wide product's weights, which is what
/// takes the time where samples are few, from its own caches.
///
/// A column's sums are the same whoever adds them, so no bits depend on it.
extension PredictionJob {
  /// Columns that stay together: a multiple of every panel.
  private static var columnsTogether: Int { InferenceStep<Scalar>.columnsTogether }

  /// `member`'s part of all steps.
  ///
  /// Wide products are shared, and what follows them column by column; the rest is member 0's. All wait for each other
  /// where one reads what another wrote. Apart from `performWork`, whose own way is to stay in one piece.
  @inline(never)
  func shareColumns(_ member: Int, _ team: WorkerTeam) {
    // A thread that was asleep often wakes on the processor of the one that woke it, though another is idle.
    if member > 0, callersProcessor >= 0, callersProcessor == lamina_current_processor() {
      lamina_leave_processor(Int32(member))
    }
    let block = sharedBlock(member)
    /// Whether the step before was shared, and its output.
    var (wasShared, rows, width) = (false, 0, 0)
    for index in 0..<stepCount {
      let step = program.steps[index]
      let isShared: Bool
      switch step.kind {
      case .dense:
        // Images are multiplied as a whole.
        isShared =
          step.hasSharedColumns && samples * step.multiplyAdds >= leastSharedProduct
          && !(index == 0 && block.images.samples != 0)
        if index > 0, wasShared || isShared { team.barrier(member) }
      case .activation, .normalization, .addition:
        isShared = wasShared && step.outputRows == rows && step.outputColumns == width
        if wasShared, !isShared { team.barrier(member) }
      case .softmax, .custom:
        isShared = false
        if wasShared { team.barrier(member) }
      }
      if isShared {
        let columns = Self.columns(of: member, sharing: step.outputColumns, members: members)
        if !columns.isEmpty { run(step, of: block, columns: columns) }
      } else if member == 0 {
        run(step, of: block, isFirst: index == 0)
      }
      (wasShared, rows, width) = (isShared, step.outputRows, step.outputColumns)
    }
  }

  /// The columns of a matrix of `width` that are `member`'s.
  static func columns(of member: Int, sharing width: Int, members: Int) -> Range<Int> {
    let groups = (width + columnsTogether - 1) / columnsTogether
    func bound(_ member: Int) -> Int { min(width, member * groups / members * columnsTogether) }
    return bound(member)..<bound(member + 1)
  }
}
