package store

import (
	"facepipe/store/internal/index"
	"facepipe/store/internal/table"
)

// What tests of this folder look at from outside.
const (
	DatasetFile    = datasetFile
	RejectsFile    = rejectsFile
	CropsFolder    = cropsFolder
	MaxShardEvents = maxShardEvents
	MaxReasonBytes = maxReasonBytes
)

type (
	DatasetDoc     = datasetDoc
	CropManifest   = cropManifest
	DuplicateInput = duplicate
	InputRef       = inputRef
	CropColumns    = cropColumns
)

var (
	CountManifests   = countManifests
	ReadCropManifest = readCropManifest
	OpenCropFile     = openCropFile
	CropSchema       = cropSchema
	ParseCropColumns = parseCropColumns
)

// Validate is what readers ask of a manifest.
func (m *cropManifest) Validate(shard int) error { return m.validate(shard) }

// ContentDigest is what the manifest's digest has to be.
func (m *cropManifest) ContentDigest() (table.Digest, error) { return m.contentDigest() }

// ReadCrop reads a crop of a file, as a [CropShard] does.
func ReadCrop(f *table.File[cropColumns], row int) (Crop, error) { return (&cropFile{f}).crop(row) }

// IndexSource is what the index is made of.
func (d *Dataset) IndexSource() *index.Source { return d.indexSource() }

// ShardVersion is the version of a crop shard.
func (d *Dataset) ShardVersion(i int) int { return d.shards[i].version }

// Committed is the number of shards that are committed.
func (w *Writer) Committed() int { return len(w.shards) }
