import Kernels

/// A stage with every pointer bound: plain values only, so that a running step counts no references and allocates nothing.
struct BoundStage<Scalar: NetworkScalar> {
  /// What makes the stage's columns; whole operations are found by `wholeIndex`.
  enum Core {
    case dense
    case columns
    case softmax
    /// An operation that is no stage of tiles; its parts, of which there may be one only, are shared out.
    case whole
  }

  var core: Core
  var inputRowsPerSample: Int
  var outputRowsPerSample: Int
  /// The input of the whole batch, at full capacity.
  var input: MatrixView<Scalar>
  var output: MatrixView<Scalar>
  /// Gradient with respect to the output; the column steps turn it in place into that of the product.
  var outputGradient: MatrixView<Scalar>
  /// Where the gradient with respect to the input goes: the previous stage's `outputGradient`; nil for the first stage.
  var inputGradient: MatrixView<Scalar>?
  /// Gradients that steps of later stages left for the stage's input: they are added to its gradient.
  var shortcutGradients: UnsafeMutablePointer<MatrixView<Scalar>>
  var shortcutCount: Int
  /// Tiles of the input's columns by which the gradient with respect to the input is shared out.
  var inputTiles: UnsafeMutablePointer<Range<Int>>
  var inputTileCount: Int
  var tiles: UnsafeMutablePointer<BoundTile<Scalar>>
  var tileCount: Int
  /// The kernel of each tile, without the columns that are 0; none where the tiles have no kernels.
  var kernels: UnsafeMutablePointer<MatrixView<Scalar>>
  var wholeIndex: Int
}

/// One tile of a stage's columns with its parameters.
struct BoundTile<Scalar: NetworkScalar> {
  var columns: Range<Int>
  /// What the core makes of them, before the column steps, at full capacity; part of the input itself for `.columns`.
  var product: MatrixView<Scalar>
  /// inputs rows of `kernelStride` scalars; those past `columns.count` are 0.
  var kernel: UnsafeMutablePointer<Scalar>?
  var kernelStride: Int
  var biasGradient: UnsafeMutablePointer<Scalar>?
  var steps: UnsafeMutablePointer<BoundStep<Scalar>>
  var stepCount: Int
  /// Where the steps of the backward pass hand on the gradient: memory that no other tile's rows run through.
  var gradient: MatrixView<Scalar>
  /// The step that leaves the gradient of the product.
  var lastOfBackward: Int
  /// The tile's region of the trainable buffer; the kernel comes first in it.
  var region: Range<Int>
}

/// One column operation of a tile.
struct BoundStep<Scalar: NetworkScalar> {
  enum Kind {
    case activation
    case normalization
    /// A normalization with a shortcut added, and a ReLU where it says so.
    case normalizedAddition
    /// A shortcut added, and a ReLU where a mask is kept.
    case addition
    case dropout
  }

  var kind: Kind
  /// The tile's columns at full capacity.
  var input: MatrixView<Scalar>
  var output: MatrixView<Scalar>

  var activation = ElementwiseActivation.linear
  var alpha = 0.0
  var bias: UnsafePointer<Scalar>?
  var gradientIsFused = false

  var normalization: BoundNormalization<Scalar>?

  /// What is added, and where its gradient goes; nil where nobody wants that.
  var shortcut: MatrixView<Scalar>?
  var shortcutGradient: MatrixView<Scalar>?
  /// Where the ReLU after an addition let the output through; nil without ReLU.
  var mask: BitMatrixView?

  var rate = 0.0
  var dropoutIndex = 0
  var firstColumn = 0

  init(kind: Kind, input: MatrixView<Scalar>, output: MatrixView<Scalar>) {
    self.kind = kind
    self.input = input
    self.output = output
  }
}

/// The vectors of one tile of a batch normalization.
struct BoundNormalization<Scalar: NetworkScalar> {
  /// Features, and the values of each that lie together: 1 where features are columns.
  var count: Int
  var inner: Int
  var momentum: Double
  var epsilon: Double
  var relu: Bool
  var maskInput: Bool
  var gamma: UnsafePointer<Scalar>?
  var beta: UnsafePointer<Scalar>?
  /// Where dγ and dβ go: scratch where γ or β does not exist.
  var gammaGradient: UnsafeMutablePointer<Scalar>
  var betaGradient: UnsafeMutablePointer<Scalar>
  var movingMean: UnsafeMutablePointer<Scalar>
  var movingVariance: UnsafeMutablePointer<Scalar>
  /// Statistics of the batch, kept for the backward pass.
  var mean: UnsafeMutablePointer<Scalar>
  var meanLow: UnsafeMutablePointer<Scalar>
  var variance: UnsafeMutablePointer<Scalar>
  var inverseDeviation: UnsafeMutablePointer<Scalar>
  /// The low part of a moving mean: zeros.
  var zeros: UnsafePointer<Scalar>
  /// Where ReLU let the output through, kept for the backward pass; nil without ReLU.
  var mask: BitMatrixView?
  /// 6·count doubles.
  var workspace: UnsafeMutablePointer<Double>
  /// The layer's switches and settings of this step.
  var control: UnsafePointer<NormalizationControl>
  /// Vectors that only some settings need.
  var extras: NormalizationExtras<Scalar>
}
