package derived

// What tests of this folder look at from outside.
const CentresFolder = centresFolder
const ClassifierFolder = classifierFolder

type Folder = folder

var Dot = dot
var EnsureCentres = ensureCentres
var FolderIn = folderIn
var ReadClassifierManifest = readClassifierManifest
var Twice = twice
