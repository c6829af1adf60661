package store

// What tests of this folder look at from outside.
const CropsFolder = cropsFolder
const DatasetFile = datasetFile
const MaxReasonBytes = maxReasonBytes
const MaxReasonsKept = maxReasonsKept
const MaxReasonsListed = maxReasonsListed
const MaxShardEvents = maxShardEvents
const RejectsFile = rejectsFile

type CropFile = cropFile
type CropManifest = cropManifest
type DatasetDoc = datasetDoc
type Duplicate = duplicate
type RejectTally = rejectTally
type ShardRef = shardRef

var CountManifests = countManifests
var CropSchema = cropSchema
var OpenCropFile = openCropFile
var ParseCropColumns = parseCropColumns
var ReadCropManifest = readCropManifest
