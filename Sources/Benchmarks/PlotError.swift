/// Why plots could not be drawn.
public enum PlotError: Error, Equatable, CustomStringConvertible {
  /// The folder could not be made or written to.
  case folder(String, problem: String)
  /// There is no gnuplot in the PATH; data and scripts have been written.
  case gnuplotMissing(folder: String)
  /// gnuplot refused a script, which is left beside its data.
  case gnuplotFailed(script: String, message: String)

  /// What is wrong, and what to do.
  public var description: String {
    switch self {
    case .folder(let folder, let problem):
      "--plot \(folder): \(problem)"
    case .gnuplotMissing(let folder):
      "--plot \(folder): gnuplot is not in the PATH, so only data and scripts were written; install it "
        + "(scripts/setup --all, or the package gnuplot-nox) and run: cd \(folder) && gnuplot *.gp"
    case .gnuplotFailed(let script, let message):
      "gnuplot failed on \(script): \(message)"
    }
  }
}
