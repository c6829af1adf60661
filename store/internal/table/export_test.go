package table

// What tests of this folder look at from outside.
type BatchInfo = batchInfo

var ChecksumOf = checksumOf
var DecodeSealed = decodeSealed
var Widen = widen
