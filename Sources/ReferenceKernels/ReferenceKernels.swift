/// Naive versions of every kernel, as close to the formulas as code gets: the oracle of the tests and the naive column
/// of the benchmark.
public enum ReferenceKernels {}
