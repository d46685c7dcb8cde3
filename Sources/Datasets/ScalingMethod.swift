/// The ways to fit a scaling of pixels to training images.
public enum ScalingMethod: String, Sendable, CaseIterable {
  /// x/255, whatever the data.
  case unit
  /// The least and the greatest pixel of the training images become 0 and 1.
  case minMax = "min-max"
  /// The pixels of the training images get mean 0 and standard deviation 1, all together.
  case standardize

  /// The scaling fitted to `images`.
  ///
  /// - Throws: `DatasetError.invalid` where there are no images to fit to.
  public func fitted(to images: ImageDataset) throws(DatasetError) -> PixelScaling {
    switch self {
    case .unit: .unit
    case .minMax: try MinMaxScaler(fitting: images).scaling.pixelScaling
    case .standardize: try StandardScaler(fitting: images).scaling.pixelScaling
    }
  }
}
