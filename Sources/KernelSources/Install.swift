internal import CKernelShims
import KernelInterface

/// Fills `table` with this build's kernels.
///
/// All in one function: spread over several files, the compiler leaves a shared helper for some assignments, code of a
/// wide instruction set that the linker could hand to the rest of the program (`scripts/check-kernel-isolation` fails).
public func installKernels(in table: KernelTable<Scalar>) {
  table.activations.forward = activate
  table.activations.backward = activateBackward
  table.activations.softmax = softmax
  table.activations.softmaxBackward = softmaxBackward
  table.activations.exponential = exponentials
  table.activations.logarithm = logarithms
  table.activations.hyperbolicTangent = hyperbolicTangents
  table.activations.logistic = logistics

  table.batchNormalization.moments = moments
  table.batchNormalization.partialMoments = partialMoments
  table.batchNormalization.mergeMoments = mergeMoments
  table.batchNormalization.inverseDeviation = inverseDeviation
  table.batchNormalization.normalize = normalize
  table.batchNormalization.backward = batchNormalizationBackward
  table.batchNormalization.backwardGivenStatistics = givenStatisticsBackward
  table.batchNormalization.weightedMoments = weightedMoments
  table.batchNormalization.weightedBackward = weightedBackward
  table.batchNormalization.normalizeAndAdd = normalizeAndAdd
  table.batchNormalization.add = addMatrices
  table.batchNormalization.keepMasked = keepMasked
  table.batchNormalization.partialGradients = partialGradients
  table.batchNormalization.mergeGradients = mergeGradients
  table.batchNormalization.propagate = propagateGradient
  table.batchNormalization.updateMovingAverage = updateMovingAverage

  table.featureRuns.moments = momentsOfRuns
  table.featureRuns.normalize = normalizeRuns
  table.featureRuns.backward = backwardOfRuns

  table.layerNormalization.forward = layerNormalize
  table.layerNormalization.backward = layerNormalizeBackward

  table.reductions.columnSums = columnSums
  table.reductions.sumOfSquares = sumOfSquares
  table.reductions.allFinite = allFinite
  table.reductions.addScaled = addScaled

  table.layout.transpose = transpose

  table.optimizers.sgd = sgd
  table.optimizers.momentum = momentum
  table.optimizers.adam = adam
  table.optimizers.rmsprop = rmsprop

  if lam_has_wide_registers() != 0 {
    table.weightGradients.transposedProduct = transposedProduct
    table.weightGradients.transposedProductAdam = transposedProductAdam
    table.layerProducts.multiply = multiplyLayer
    table.layerProducts.multiplyByTransposed = multiplyByTransposedLayer
    table.layerProducts.mostTerms = 64 * lanes
    table.weightGradients.samplesTogether = 64
  }
  #if LAMINA_SIX_ROWS
    table.weightGradients.transposedProduct = gradientSixRows
    table.weightGradients.transposedProductAsking = gradientSixRowsAsking
    table.layerProducts.multiply = multiplySixRows
    table.layerProducts.multiplyByTransposed = multiplyByTransposedSixRows
    #if LAMINA_DOUBLE
      table.layerProducts.unitsPerRowOfTransposed = 5
      table.layerProducts.mostRowsOfTransposed = 24
    #else
      table.layerProducts.unitsPerRowOfTransposed = 8
      table.layerProducts.mostRowsOfTransposed = 14
    #endif
    table.packedProducts.hasManyZeros = hasManyZeros
    table.sparseProducts.isSparse = isSparse
    table.sparseProducts.listRows = listRows
    table.sparseProducts.listColumns = listColumns
    table.sparseProducts.layOutTile = layOutTile
    table.sparseProducts.multiply = multiplySparse
    table.sparseProducts.multiplyPanels = multiplySparsePanels
  #endif

  #if LAMINA_PACKED_GRADIENTS
    table.packedProducts.layout = packedLayout
    table.packedProducts.packLeftTransposed = packInputs
    table.packedProducts.packRight = packOutputGradient
    table.packedProducts.multiply = multiplyPacked
  #endif

  #if LAMINA_BYTE_PRODUCTS
    table.byteProducts.gather = gatherByteRows
    table.byteProducts.takeApart = takeApart
    table.byteProducts.renewDigits = renewDigits
    table.byteProducts.multiply = multiplyBytes
    table.byteProducts.gradient = byteGradient
    table.byteProducts.gradientAdam = byteGradientAdam
    table.byteProducts.layOutByColumn = layOutByColumn
    table.byteProducts.multiplyTiles = multiplyByteTiles
    table.byteProducts.gradientTiles = byteGradientTiles
    table.byteProducts.gradientAdamTiles = byteGradientAdamTiles
    table.byteProducts.recognize = recognizeBytes
  #endif

  #if LAMINA_SPLIT_PRODUCTS
    table.splitProducts.packLeft = splitLeft
    table.splitProducts.packLeftTransposed = splitLeftTransposed
    table.splitProducts.packRight = splitRight
    table.splitProducts.packRightTransposed = splitRightTransposed
    table.splitProducts.multiply = multiplySplit
  #endif

  table.losses.sparseCategoricalFromLogits = sparseCategoricalFromLogits
  table.losses.categoricalFromLogits = categoricalFromLogits
  table.losses.sparseCategoricalFromProbabilities = sparseCategoricalFromProbabilities
  table.losses.categoricalFromProbabilities = categoricalFromProbabilities
  table.losses.binaryFromLogits = binaryFromLogits
  table.losses.binaryFromProbabilities = binaryFromProbabilities
  table.losses.meanSquaredError = meanSquaredError

  table.dropout.apply = dropout

  table.gathering.bytes = gatherBytes
  table.gathering.bytesByColumn = gatherBytesByColumn
  table.gathering.scalars = gatherScalars

  table.products.packedCount = packedPanelCount
  table.products.pack = packPanels
  table.products.multiply = multiplyPanels
  table.products.blockRows = productBlockRows
  table.products.scale = scaleMatrix
  table.products.addRowCombination = addRowCombination

  table.measurement.multiplyAddPeak = multiplyAddPeak
  table.measurement.streamCopy = streamCopy
  table.measurement.stream = stream
}
