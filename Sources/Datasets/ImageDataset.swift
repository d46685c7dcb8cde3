import LinearAlgebra

/// Labelled grey images of one size, held as the bytes they came as.
///
/// Pixels stay `UInt8` (a quarter of the memory of `Float`); they are scaled while a batch is gathered. Copies share
/// storage. Image i occupies `pixels[i * featureCount ..< (i + 1) * featureCount]`, row by row.
public struct ImageDataset: Sendable, Equatable {
  /// The pixels of all images: count × height × width, row-major.
  public let pixels: [UInt8]

  /// The class of each image, from 0 to `classCount - 1`.
  public let labels: [Int32]

  /// The rows of an image.
  public let height: Int

  /// The columns of an image.
  public let width: Int

  /// The name of each class.
  public let classNames: [String]

  /// The number of images.
  public var count: Int { labels.count }

  /// The number of classes.
  public var classCount: Int { classNames.count }

  /// The pixels of one image: height × width.
  public var featureCount: Int { height * width }

  /// Images of `height` × `width` pixels with a label each; classes are named by their number unless given.
  ///
  /// Without `classNames` there are as many classes as the largest label needs. Throws `DatasetError.invalid` where the
  /// images have no pixels, counts don't agree, or a label is negative or has no class.
  public init(
    pixels: [UInt8], labels: [Int32], height: Int, width: Int, classNames: [String]? = nil
  ) throws(DatasetError) {
    guard height > 0, width > 0, !height.multipliedReportingOverflow(by: width).overflow else {
      throw .invalid(
        problem: "images of \(height) × \(width) pixels", advice: "height and width must be positive and not absurd")
    }
    guard pixels.count % (height * width) == 0, pixels.count / (height * width) == labels.count else {
      throw .invalid(
        problem: "\(pixels.count) pixels are not \(labels.count) images (one a label) of \(height) × \(width)",
        advice: "give as many images as labels")
    }
    // Rows are numbered by Int32 where batches are gathered.
    guard labels.count <= Int(Int32.max) else {
      throw .invalid(problem: "\(labels.count) images", advice: "a data set holds at most 2^31 - 1 images")
    }
    let names = classNames ?? (0...max(labels.max() ?? 0, 0)).map { "\($0)" }
    if let row = labels.firstIndex(where: { $0 < 0 || $0 >= names.count }) {
      throw .invalid(
        problem: "label \(labels[row]) of image \(row) is none of the \(names.count) classes",
        advice: "labels must run from 0 to \(names.count - 1)")
    }
    self.pixels = LargePages.moved(pixels)
    self.labels = labels
    self.height = height
    self.width = width
    self.classNames = names
  }

  /// Parts that are known to fit together.
  init(unchecked pixels: [UInt8], labels: [Int32], height: Int, width: Int, classNames: [String]) {
    self.pixels = LargePages.moved(pixels)
    self.labels = labels
    self.height = height
    self.width = width
    self.classNames = classNames
  }

  /// The images of an IDX file of rank 3 and the labels of one of rank 1, plain or packed with gzip.
  ///
  /// Throws `DatasetError` with path and byte offset where a file is damaged, has the wrong rank, a label has no class
  /// or the counts differ. Without `classNames` there are as many classes as the largest label needs.
  public init(imagesPath: String, labelsPath: String, classNames: [String]? = nil) throws(DatasetError) {
    let labels = try IDX(path: labelsPath)
    guard labels.dimensions.count == 1 else {
      throw .malformed(
        path: labelsPath, offset: 3, problem: "labels have \(labels.dimensions.count) dimensions, not 1",
        advice: "give an IDX file of labels, such as train-labels-idx1-ubyte")
    }
    if let classNames, let row = labels.bytes.firstIndex(where: { $0 >= classNames.count }) {
      throw .malformed(
        path: labelsPath, offset: 8 + row,
        problem: "label \(labels.bytes[row]) of image \(row) is none of the \(classNames.count) classes",
        advice: "labels must run from 0 to \(classNames.count - 1)")
    }
    let images = try IDX(path: imagesPath)
    guard images.dimensions.count == 3 else {
      throw .malformed(
        path: imagesPath, offset: 3, problem: "images have \(images.dimensions.count) dimensions, not 3",
        advice: "give an IDX file of images, such as train-images-idx3-ubyte")
    }
    guard images.dimensions[0] == labels.dimensions[0] else {
      throw .malformed(
        path: imagesPath, offset: 4,
        problem: "\(images.dimensions[0]) images, but \(labels.dimensions[0]) labels in \(labelsPath)",
        advice: "give the two files of one set")
    }
    guard images.dimensions[1] > 0, images.dimensions[2] > 0 else {
      throw .malformed(
        path: imagesPath, offset: 8, problem: "images of \(images.dimensions[1]) × \(images.dimensions[2]) pixels",
        advice: "fetch the file again")
    }
    try self.init(
      pixels: images.bytes, labels: labels.bytes.map { Int32($0) }, height: images.dimensions[1],
      width: images.dimensions[2], classNames: classNames)
  }

  /// The images of a range of rows, with the same classes.
  ///
  /// The range must lie within 0 ..< count, as for an array. Cost: a copy of the rows, unless it is all of them.
  public func subset(_ range: Range<Int>) -> ImageDataset {
    if range == 0..<count { return self }
    let pixelRange = range.lowerBound * featureCount..<range.upperBound * featureCount
    return ImageDataset(
      unchecked: Array(pixels[pixelRange]), labels: Array(labels[range]), height: height, width: width,
      classNames: classNames)
  }

  /// The data without its last fraction, and that fraction for validation, as Keras's `validation_split` cuts it.
  ///
  /// The cut is made before any shuffling, at row ⌊count · (1 − fraction)⌋. Throws `DatasetError.invalid` unless the
  /// fraction lies between 0 and 1 and leaves images on both sides.
  public func split(
    validationFraction: Double
  ) throws(DatasetError) -> (training: ImageDataset, validation: ImageDataset) {
    guard validationFraction > 0, validationFraction < 1 else {
      throw .invalid(
        problem: "a validation fraction of \(validationFraction)", advice: "give a number between 0 and 1")
    }
    let cut = Int(Double(count) * (1 - validationFraction))
    guard cut > 0, cut < count else {
      throw .invalid(
        problem: "a validation fraction of \(validationFraction) of \(count) images leaves a side empty",
        advice: "give more images or another fraction")
    }
    return (subset(0..<cut), subset(cut..<count))
  }

  /// The pixels of all images, for as long as `body` runs.
  public func withUnsafePixels<Result, Failure: Error>(
    _ body: (UnsafeBufferPointer<UInt8>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try pixels.withUnsafeBufferPointer(body)
  }

  /// The same images with the classes named anew; throws `DatasetError.invalid` where a label has no name.
  public func named(_ classNames: [String]) throws(DatasetError) -> ImageDataset {
    try ImageDataset(pixels: pixels, labels: labels, height: height, width: width, classNames: classNames)
  }
}
