package cache

// What tests of this folder look at from outside.
const InfoFile = infoFile
const PartTable = partTable

type Batch = batch
type InfoDoc = infoDoc
type Invalid = invalid
type Manifest = manifest

var DropOn = drop
var ListRuns = listRuns
var ParseColumns = parseColumns
var ReadInfo = readInfo
var ReadManifest = readManifest
var SchemaOf = schemaOf
var DigestOf = (*manifest).contentDigest
