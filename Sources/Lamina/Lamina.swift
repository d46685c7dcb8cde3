@_exported import Datasets
@_exported import LinearAlgebra
@_exported import NeuralNetworks
@_exported import RandomNumbers
@_exported import Training
